"""Scenes from your own images: every picture of a folder, fitted to the canvas or cut into crops.

Their contents are unknown, except for counts that a CSV file may give. Counts are used for
evaluation only.
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import sys
from collections.abc import Iterator

import numpy as np
import tqdm
from absl import logging
from jaxtyping import Int, UInt8
from PIL import Image

from air_jax.config.sections import DataConfig
from air_jax.data import crops, image_files, levels, picture_table, pictures, preparation
from air_jax.data.image_files import ImageFile
from air_jax.errors import UserError
from air_jax.types import LabelledScenes

TEST_FRACTION = 0.2  # of the images, in expectation
QUIET_BELOW = 1001  # images that are read without a progress bar
_MEASURED = 1000  # most images that levels are measured from


def load(config: DataConfig, split: str) -> LabelledScenes:
  """Loads the images of a split, 'train' or 'test', in the order of their names.

  The split of an image is a function of its name relative to the folder, so adding images moves
  none of the others.

  Raises:
    UserError: the folder or the CSV file is invalid, no image of the split can be read, one cannot
      be read and `data.strict` is set, or `data.stretch` is and they differ in type.
  """
  folder, files = _find(config)
  names = [file.name for file in files]
  table = config.counts_csv
  counts = picture_table.read_counts(table, names, 'data.counts_csv') if table else {}
  chosen = _of_split(files, split)
  if not chosen:
    raise UserError(
      f'data.dir={str(folder)!r} has no {split} images: file names decide the split, and none of '
      f'its {len(files)} fell to {split}; add images'
    )
  config, size = resolve(config), config.canvas_size
  images = np.zeros((len(chosen), size, size, 3 if config.colour else 1), np.uint8)
  kept: list[str] = []
  for name, picture in _read(folder, chosen, split, config, _type_of_first(files, config)):
    images[len(kept)] = pictures.on_canvas(picture, size, config.colour, config.fit)
    kept.append(name)
  images = images[: len(kept)]
  levels.warn_if_dim(levels.histogram(images), str(folder))
  return unlabelled(images, np.array([counts.get(name, -1) for name in kept], np.int32))


def load_crops(config: DataConfig, split: str) -> crops.Pieces:
  """Loads the images of a split at the scale of crops, see `data.object_pixels`.

  They are split by their names as in `load`; where that leaves one split without any, a part of
  each image is held out.

  Raises:
    UserError: as `load`, or an image is smaller than an object.
  """
  folder, files = _find(config)
  config = resolve(config)
  parted = not all(_of_split(files, each) for each in ('train', 'test'))
  scaled = []
  chosen, types = files if parted else _of_split(files, split), _type_of_first(files, config)
  for name, picture in _read(folder, chosen, split, config, types):
    if config.object_pixels > min(picture.size):
      width, height = picture.size
      raise UserError(
        f'data.object_pixels={config.object_pixels:g}: {folder / name} has {width}x{height} pixels '
        'wide x high; an object must be smaller than the images'
      )
    picture = picture.convert('RGB' if config.colour else 'L')
    image = crops.to_scale(np.asarray(picture).reshape(*picture.size[::-1], -1), config)
    scaled.append(crops.split(image, split) if parted else image)
  levels.warn_if_dim(levels.histogram(scaled), str(folder))
  return crops.cut(scaled, config.canvas_size)


def resolve(config: DataConfig) -> DataConfig:
  """Measures `data.levels` where there are none and `data.stretch` asks for them.

  They are percentiles of the training images, see `levels.measure`; the same images give the same.

  Raises:
    UserError: as `load`, or the images have one value everywhere.
  """
  if not config.stretch or config.levels:
    return config
  folder, files = _find(config)
  files = _of_split(files, 'train') or files
  files = files[:: -(-len(files) // _MEASURED)]
  samples: list[np.ndarray] = []
  types: dict[np.dtype, str] = {}
  for file in files:
    try:
      values = preparation.channel(image_files.read(file), config.channel)
    except Exception:  # damaged files raise nearly any type; whoever loads them says so
      continue
    _check_type(values, file, types, folder)
    samples.append(levels.sample(values, len(files)))
  measured = levels.measure(np.concatenate(samples)) if samples else ()
  if not measured:
    raise UserError(
      f'data.stretch=True: the train images of data.dir={str(folder)!r} have no two values to '
      'measure levels from; data.levels=(low, high) sets them'
    )
  logging.info(
    'data.levels=%s, measured from %d train images of %s', measured, len(samples), folder
  )
  return dataclasses.replace(config, levels=measured)


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
    places=np.zeros((number, 0, 2), np.float32),
  )


def _find(config: DataConfig) -> tuple[pathlib.Path, list[ImageFile]]:
  """The folder, and its pictures."""
  if not config.dir:
    raise UserError("data.dir='' names no folder; it must be the folder of your pictures")
  folder = pathlib.Path(os.path.expanduser(config.dir))
  if not folder.is_dir():
    raise UserError(f'data.dir={str(folder)!r} is not a folder; it must hold pictures')
  files, others = image_files.find(folder)
  if not files:
    raise UserError(
      f'data.dir={str(folder)!r} holds no images; it must hold files ending in '
      f'{", ".join(image_files.SUFFIXES)}, at any depth'
    )
  table = os.path.abspath(os.path.expanduser(config.counts_csv))
  image_files.log_left_out(folder, [x for x in others if os.path.abspath(folder / x) != table])
  return folder, files


def _of_split(files: list[ImageFile], split: str) -> list[ImageFile]:
  return [file for file in files if is_held_out(file.name) == (split == 'test')]


def is_held_out(name: str) -> bool:
  """Whether an image of this name, relative to the folder, is of the split 'test'."""
  digest = hashlib.sha256(os.fsencode(name)).digest()
  return int.from_bytes(digest[:8], 'big') < TEST_FRACTION * 2**64


def _read(
  folder: pathlib.Path,
  files: list[ImageFile],
  split: str,
  config: DataConfig,
  types: dict[np.dtype, str],
) -> Iterator[tuple[str, Image.Image]]:
  """The name of each image that can be read, with the image in the levels of the configuration."""
  kept = 0
  sizes: set[tuple[int, int]] = set()
  hidden = len(files) < QUIET_BELOW or not sys.stderr.isatty()
  for file in tqdm.tqdm(files, unit='image', dynamic_ncols=True, disable=hidden):
    try:
      values = image_files.read(file)
      picture = preparation.in_levels(values, config)
    except Exception as error:  # damaged files raise nearly any type
      reason = str(error) or type(error).__name__
      if config.strict:
        raise UserError(
          f'{folder / file.name} cannot be read ({reason}); data.strict=False leaves such images '
          'out'
        ) from error
      logging.warning('leaving out %s: it cannot be read (%s)', folder / file.name, reason)
      continue
    if config.stretch:
      _check_type(values, file, types, folder)
    kept += 1
    sizes.add(picture.size)
    yield file.name, picture
  if not kept:
    raise UserError(
      f'data.dir={str(folder)!r}: none of its {len(files)} {split} images can be read, the last '
      f'because of {reason}'
    )
  if kept < len(files):
    logging.warning(
      'left out %d of %d %s images that cannot be read', len(files) - kept, len(files), split
    )
  by_area = sorted(sizes, key=lambda sides: (sides[0] * sides[1], sides))
  extent = '..'.join(f'{width}x{height}' for width, height in (by_area[0], by_area[-1]))
  logging.info(
    '%d %s images from %s, %s pixels wide x high%s',
    kept,
    split,
    folder,
    extent,
    _placed(config, sizes),
  )


def _placed(config: DataConfig, sizes: set[tuple[int, int]]) -> str:
  """What is done with images of these sizes, for the log."""
  side = config.canvas_size
  if config.object_pixels:
    return f', cut into crops of {side / crops.scale(config):.0f}x{side / crops.scale(config):.0f}'
  return '' if sizes == {(side, side)} else f', fitted to {side}x{side} by {config.fit!r}'


def _type_of_first(files: list[ImageFile], config: DataConfig) -> dict[np.dtype, str]:
  """The type of the first image that can be read, which the others must have, and its name."""
  for file in files if config.stretch else []:
    with contextlib.suppress(Exception):  # damaged files raise nearly any type
      return {image_files.read(file).dtype: file.name}
  return {}


def _check_type(
  values: np.ndarray, file: ImageFile, types: dict[np.dtype, str], folder: pathlib.Path
) -> None:
  """Refuses an image of another type than the ones before, of each of which `types` has a name."""
  types.setdefault(values.dtype, file.name)
  if len(types) > 1:
    (first, one), (second, other) = types.items()
    raise UserError(
      f'data.stretch=True needs images of one type: in {folder}, {one!r} is {first} and {other!r} '
      f'is {second}; keep them in folders of their own'
    )
