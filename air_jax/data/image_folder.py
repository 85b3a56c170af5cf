"""Scenes from your own images: every PNG and JPEG file of a folder, fitted to the canvas.

Their contents are unknown, except for counts that a CSV file may give. Counts are used for
evaluation only.
"""

import csv
import hashlib
import os
import pathlib
import re
import sys

import numpy as np
import tqdm
from absl import logging
from jaxtyping import Int, UInt8

from air_jax.config.sections import DataConfig
from air_jax.data import pictures
from air_jax.errors import UserError
from air_jax.types import LabelledScenes

TEST_FRACTION = 0.2  # of the images, in expectation
QUIET_BELOW = 1001  # images that are read without a progress bar


def load(config: DataConfig, split: str) -> LabelledScenes:
  """Loads the images of a split, 'train' or 'test', in the order of their names.

  The split of an image is a function of its name relative to the folder, so adding images moves
  none of the others.

  Raises:
    UserError: the folder or the CSV file is invalid, no image of the split can be read, or one
      cannot be read and `data.strict` is set.
  """
  if not config.dir:
    raise UserError("data.dir='' names no folder; it must be the folder of your PNG or JPEG files")
  folder = pathlib.Path(os.path.expanduser(config.dir))
  if not folder.is_dir():
    raise UserError(f'data.dir={str(folder)!r} is not a folder; it must hold PNG or JPEG files')
  names = pictures.find(folder)
  if not names:
    raise UserError(
      f'data.dir={str(folder)!r} holds no images; it must hold files ending in '
      f'{", ".join(pictures.SUFFIXES)}, at any depth'
    )
  counts = _read_counts(config.counts_csv, names) if config.counts_csv else {}
  chosen = [name for name in names if _is_test(name) == (split == 'test')]
  if not chosen:
    raise UserError(
      f'data.dir={str(folder)!r} has no {split} images: file names decide the split, and none of '
      f'its {len(names)} fell to {split}; add images'
    )
  images, kept = _read(folder, chosen, split, config)
  return unlabelled(images, np.array([counts.get(name, -1) for name in kept], np.int32))


def unlabelled(
  images: UInt8[np.ndarray, 'B H W C'], counts: Int[np.ndarray, ' B']
) -> LabelledScenes:
  """Scenes of which at most the counts are known: N = 0."""
  number = len(images)
  empty = np.zeros((number, 0), np.float32)
  return LabelledScenes(
    images=images,
    counts=counts,
    boxes=np.zeros((number, 0, 4), np.float32),
    labels=empty.astype(np.int32),
    scales=empty,
    rotations=empty,
    segments=np.zeros((number, 0, 0), np.uint16),
  )


def _is_test(name: str) -> bool:
  digest = hashlib.sha256(os.fsencode(name)).digest()
  return int.from_bytes(digest[:8], 'big') < TEST_FRACTION * 2**64


def _read_counts(given: str, names: list[str]) -> dict[str, int]:
  """Counts by image name, from a file of 'name,count' lines."""
  path = pathlib.Path(os.path.expanduser(given))
  known = set(names)
  counts: dict[str, int] = {}
  try:
    with path.open(encoding='utf-8-sig', newline='') as file:  # spreadsheets write the signature
      reader = csv.reader(file, strict=True)
      for row in reader:
        where = f'data.counts_csv={str(path)!r}, line {reader.line_num}'
        if not row or (reader.line_num == 1 and row == ['name', 'count']):
          continue
        if len(row) != 2:
          raise UserError(f'{where} has {len(row)} fields; it must have two, name,count')
        name, count = row
        if not re.fullmatch('[0-9]{1,9}', count.strip()):
          raise UserError(
            f'{where}: the count {count!r} must be a whole number >= 0 of at most 9 digits'
          )
        if name not in known:
          raise UserError(
            f'{where}: {name!r} is no image of data.dir; names must be relative to that folder, '
            f'as in {names[0]!r}'
          )
        if name in counts:
          raise UserError(f'{where}: {name!r} was listed before; a name must be listed once')
        counts[name] = int(count)
  except csv.Error as error:
    raise UserError(
      f'data.counts_csv={str(path)!r}, line {reader.line_num} is no line of CSV ({error})'
    ) from error
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(
      f'data.counts_csv={str(path)!r} cannot be read ({error}); it must be a UTF-8 file of '
      'name,count lines'
    ) from error
  return counts


def _read(
  folder: pathlib.Path, names: list[str], split: str, config: DataConfig
) -> tuple[UInt8[np.ndarray, 'B S S C'], list[str]]:
  """Reads the images that can be read, and returns them with their names."""
  size = config.canvas_size
  images = np.zeros((len(names), size, size, 3 if config.colour else 1), np.uint8)
  kept: list[str] = []
  sizes: set[tuple[int, int]] = set()
  hidden = len(names) < QUIET_BELOW or not sys.stderr.isatty()
  for name in tqdm.tqdm(names, unit='image', dynamic_ncols=True, disable=hidden):
    try:
      picture = pictures.decode(folder / name, 'RGB' if config.colour else 'L')
    except Exception as error:  # damaged files make Pillow's decoders raise nearly any type
      reason = str(error) or type(error).__name__
      if config.strict:
        raise UserError(
          f'{folder / name} cannot be read ({reason}); data.strict=False leaves such images out'
        ) from error
      logging.warning('leaving out %s: it cannot be read (%s)', folder / name, reason)
      continue
    images[len(kept)] = np.asarray(pictures.fit(picture, size, config.fit)).reshape(
      images.shape[1:]
    )
    kept.append(name)
    sizes.add(picture.size)
  if not kept:
    raise UserError(
      f'data.dir={str(folder)!r}: none of its {len(names)} {split} images can be read, the last '
      f'because of {reason}'
    )
  if len(kept) < len(names):
    logging.warning(
      'left out %d of %d %s images that cannot be read', len(names) - len(kept), len(names), split
    )
  by_area = sorted(sizes, key=lambda sides: (sides[0] * sides[1], sides))
  extent = '..'.join(f'{width}x{height}' for width, height in (by_area[0], by_area[-1]))
  fitted = '' if sizes == {(size, size)} else f', fitted to {size}x{size} by {config.fit!r}'
  logging.info(
    '%d %s images from %s, %s pixels wide x high%s', len(kept), split, folder, extent, fitted
  )
  return images[: len(kept)], kept
