"""Parses a person's image files: the objects of each as a line of JSON, and as a picture."""

import glob
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

import numpy as np
import tqdm
from absl import logging
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from air_jax.config.sections import DataConfig
from air_jax.data import image_files, levels, pictures, preparation
from air_jax.data.image_files import ImageFile
from air_jax.errors import UserError
from air_jax.inference.predictor import Model
from air_jax.viz import pillow_grid

_BATCH = 64  # images in memory at once
_SIDE = 320  # pixels of the longer side of an annotated picture
_LINES = 'objects.jsonl'


class _Picture(NamedTuple):
  """A file that could be read."""

  name: str
  size: tuple[int, int]  # (width, height) of the file, pixels
  canvas: UInt8[np.ndarray, 'S S C']  # fitted to the model's canvas
  shown: Image.Image  # scaled, to be annotated


def find(images: str) -> tuple[pathlib.Path, list[ImageFile]]:
  """Finds pictures.

  Args:
    images: a folder, searched at any depth, or a pattern such as 'photos/*.png'.

  Returns:
    (folder, pictures, whose names are relative to it).

  Raises:
    UserError: there are none.
  """
  given = os.path.expanduser(images)
  folder = pathlib.Path(given)
  if folder.is_dir():
    files, others = image_files.find(folder)
    image_files.log_left_out(folder, others)
  else:
    paths = [pathlib.Path(path) for path in sorted(glob.glob(given, recursive=True))]
    paths = [path for path in paths if not path.is_dir()]
    folder = pathlib.Path(os.path.commonpath([path.parent for path in paths]) if paths else '.')
    files = image_files.of_names(folder, [path.relative_to(folder).as_posix() for path in paths])
  if not files:
    raise UserError(
      f'images={images} finds no pictures; it must be a folder with files ending in '
      f'{", ".join(image_files.SUFFIXES)}, or a pattern such as "photos/*.png"'
    )
  return folder, files


def run(model: Model, images: str, out: str | pathlib.Path, annotate: bool) -> str:
  """Parses image files into a folder; continues where an earlier call was interrupted.

  `objects.jsonl` gets a line for each image that can be read, in the order of their names:
  `image`, `width`, `height`, `step` (training step of the model), `count`, `count_probs`, and
  `objects` with `box` (top, left, height, width, in pixels of the file), `score` and `z_what`.
  `annotated/NAME.png` shows the image with its boxes beside the reconstruction.

  Args:
    model: the model that parses.
    images: see `find`.
    out: folder, made if missing.
    annotate: whether to draw.

  Returns:
    one sentence that sums up the work.

  Raises:
    UserError: there are no images, none can be read, or the folder holds results of another model
      or of other images.
  """
  folder, files = find(images)
  names = [file.name for file in files]
  out = pathlib.Path(os.path.expanduser(out))
  path = out / _LINES
  done = _done(path, names, model.step)
  left = [file for file in files if file.name not in done]
  unreadable: list[str] = []
  sizes: set[tuple[int, int]] = set()
  brightness = levels.histogram([])
  try:
    out.mkdir(parents=True, exist_ok=True)
    hidden = not sys.stderr.isatty()
    with (
      path.open('a') as lines,
      tqdm.tqdm(total=len(left), unit='image', dynamic_ncols=True, disable=hidden) as bar,
    ):
      for start in range(0, len(left), _BATCH):
        batch = left[start : start + _BATCH]
        read = _read(batch, model.config.data, unreadable)
        if read:
          sizes |= {picture.size for picture in read}
          brightness += levels.histogram(picture.canvas for picture in read)
          _parse(model, read, lines, out / 'annotated' if annotate else None)
        bar.update(len(batch))
  except OSError as error:
    raise UserError(f'{out} cannot be written to: {error.strerror or error}') from error
  if left and len(unreadable) == len(names):
    raise UserError(f'images={images}: none of its {len(names)} files can be read')
  parsed = len(left) - len(unreadable)
  if parsed:
    levels.warn_if_dim(brightness, images)
  return _summary(parsed, len(done), len(unreadable), sizes, model.config.data, path)


def _done(path: pathlib.Path, names: Sequence[str], step: int) -> set[str]:
  """The names that an earlier call wrote; removes a last line that it did not finish."""
  if not path.exists():
    return set()
  done: set[str] = set()
  wanted, whole = set(names), 0
  with path.open('rb') as lines:
    for line in lines:
      if not line.endswith(b'\n'):
        break
      try:
        known = json.loads(line)
        name, of_step = str(known['image']), int(known['step'])
      except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise UserError(f'{path} was not written by parsing; choose another folder') from None
      if of_step != step or name not in wanted:
        what = f'step {of_step} of a model' if of_step != step else f'other pictures ({name})'
        raise UserError(f'{path} holds the objects of {what}; choose another folder')
      done.add(name)
      whole += len(line)
  os.truncate(path, whole)
  return done


def _read(files: Sequence[ImageFile], data: DataConfig, unreadable: list[str]) -> list[_Picture]:
  """The files that can be read; names of the others are added to `unreadable`."""
  read = []
  for file in files:
    try:
      picture, canvas = preparation.prepare(image_files.read(file), data)
    except Exception as error:  # damaged files raise nearly anything
      reason = str(error) or type(error).__name__
      logging.warning('leaving out %s: it cannot be read (%s)', file.path, reason)
      unreadable.append(file.name)
      continue
    read.append(_Picture(file.name, picture.size, canvas, _scaled(picture)))
  return read


def _scaled(picture: Image.Image) -> Image.Image:
  """An image at the size of annotated ones."""
  ratio = _SIDE / max(picture.size)
  width, height = (max(1, round(side * ratio)) for side in picture.size)
  how = Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.BOX
  return picture.resize((width, height), how)


def _parse(
  model: Model, read: Sequence[_Picture], lines: IO[str], annotated: pathlib.Path | None
) -> None:
  """Writes the lines of a batch, and their annotated pictures where there is a folder for them."""
  scenes = model.parse(np.stack([picture.canvas for picture in read]), _BATCH)
  data = model.config.data
  for i, (name, size, _, shown) in enumerate(read):
    count = int(scenes.counts[i])
    boxes = pictures.unfit(scenes.boxes[i, :count], size, data.canvas_size, data.fit)
    if annotated is not None:
      target = annotated / f'{name}.png'
      target.parent.mkdir(parents=True, exist_ok=True)
      probability = float(scenes.count_probs[i, count])
      _annotate(shown, boxes / max(size) * _SIDE, scenes.canvases[i], probability).save(target)
    found = zip(boxes, scenes.scores[i], scenes.latents.z_what[i], strict=False)
    line = {
      'image': name,
      'width': size[0],
      'height': size[1],
      'step': model.step,
      'count': count,
      'count_probs': _rounded(scenes.count_probs[i]),
      'objects': [
        {'box': _rounded(box, 2), 'score': _rounded(score), 'z_what': _rounded(z_what)}
        for box, score, z_what in found
      ],
    }
    lines.write(json.dumps(line) + '\n')
  lines.flush()


def _rounded(values: Any, digits: int = 5) -> Any:
  return np.round(np.float64(values), digits).tolist()


def _annotate(
  shown: Image.Image,
  boxes: Float[np.ndarray, 'M 4'],
  canvas: Float[np.ndarray, 'H W C'],
  probability: float,
) -> Image.Image:
  """The image with numbered boxes beside its reconstruction, under a line of text."""
  header, gap = 24, 8
  sheet = Image.new('RGB', (2 * _SIDE + gap, _SIDE + header), 'white')
  sheet.paste(shown, (0, header))
  reconstruction = pillow_grid.to_image(canvas).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
  sheet.paste(reconstruction, (_SIDE + gap, header))
  pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
  objects = 'object' if len(boxes) == 1 else 'objects'
  pen.text((4, 4), f'{len(boxes)} {objects}, p = {probability:.3f}', 'black', font)
  pen.text((_SIDE + gap, 4), 'reconstruction', 'black', font)
  for t, (top, left, height, width) in enumerate(boxes):
    pillow_grid.outline(sheet, (top + header, left, height, width), t, width=3)
    corner = left + 6, top + header + 4
    pen.text(corner, str(t + 1), 'white', font, stroke_width=2, stroke_fill='black')
  return sheet


def _summary(
  parsed: int,
  before: int,
  unreadable: int,
  sizes: set[tuple[int, int]],
  data: DataConfig,
  path: pathlib.Path,
) -> str:
  text = f'{parsed:,} images parsed into {path}'
  if before:
    text += f', {before:,} were there already'
  if unreadable:
    text += f'; {unreadable:,} cannot be read and are left out'
  side = data.canvas_size
  if sizes - {(side, side)}:
    text += f'; not all are {side}x{side}: they were fitted by data.fit={data.fit!r}'
  return text
