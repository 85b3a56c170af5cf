"""Parses image files that are fitted to the model's canvas as a whole."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from air_jax.data import levels, pictures, preparation
from air_jax.data.image_files import ImageFile
from air_jax.inference import dashes, file_results
from air_jax.inference.file_results import FileResult
from air_jax.inference.predictor import Model
from air_jax.viz import pillow_grid

BATCH = 64  # images in memory at once
_SIDE = 320  # pixels of the longer side of an annotated picture


class _Picture(NamedTuple):
  """A file that could be read."""

  name: str
  size: tuple[int, int]  # (width, height) of the file, pixels
  canvas: UInt8[np.ndarray, 'S S C']  # fitted to the model's canvas
  shown: Image.Image  # scaled, to be annotated


def parse(
  model: Model, files: Sequence[ImageFile], annotated: pathlib.Path | None
) -> Iterator[FileResult]:
  """Parses a batch of files; draws them in a folder, if there is one."""
  data = model.config.data
  read: list[_Picture] = []
  for file in files:
    values = file_results.read(file, data)
    if values is None:
      yield FileResult(file.name, None)
    else:
      picture, canvas = preparation.prepare(values, data)
      read.append(_Picture(file.name, picture.size, canvas, _scaled(picture)))
  if not read:
    return
  scenes = model.parse(np.stack([picture.canvas for picture in read]), BATCH)
  for i, (name, size, canvas, shown) in enumerate(read):
    count = int(scenes.counts[i])
    boxes = pictures.unfit(scenes.boxes[i, :count], size, data.canvas_size, data.fit)
    regions = pictures.unfit_labels(scenes.regions[i].astype(np.int32), size, data.fit)
    judged = file_results.judged(
      model,
      scenes.ink_explained[i],
      scenes.elbo[i],
      scenes.elbo_ranks[i],
      scenes.unlike[i],
      file_results.boxes_of(regions),
    )
    if annotated is not None:
      target = file_results.path(annotated, name, '.png')
      text = file_results.title(count, float(scenes.count_probs[i, count]), judged.doubt)
      drawn = dashes.draw(shown.convert('RGB'), regions)
      _annotate(drawn, boxes / max(size) * _SIDE, scenes.canvases[i], text).save(target)
    line = file_results.line(
      model,
      name,
      size,
      boxes,
      scenes.scores[i],
      np.asarray(scenes.latents.z_what[i]),
      judged,
      scenes.count_probs[i],
      scenes.poses and file_results.solids(jax.tree.map(lambda x, i=i: x[i], scenes.poses)),
    )
    yield FileResult(name, line, levels.histogram([canvas]))


def _scaled(picture: Image.Image) -> Image.Image:
  """An image at the size of annotated ones."""
  ratio = _SIDE / max(picture.size)
  width, height = (max(1, round(side * ratio)) for side in picture.size)
  how = Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.BOX
  return picture.resize((width, height), how)


def _annotate(
  shown: Image.Image,
  boxes: Float[np.ndarray, 'M 4'],
  canvas: Float[np.ndarray, 'H W C'],
  text: str,
) -> Image.Image:
  """The image with numbered boxes beside its reconstruction, under a line of text."""
  header, gap = 24, 8
  sheet = Image.new('RGB', (2 * _SIDE + gap, _SIDE + header), 'white')
  sheet.paste(shown, (0, header))
  reconstruction = pillow_grid.to_image(canvas).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
  sheet.paste(reconstruction, (_SIDE + gap, header))
  pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
  pen.text((4, 4), text, 'black', font)
  if pen.textlength(text, font) < _SIDE:
    pen.text((_SIDE + gap, 4), 'reconstruction', 'black', font)
  for t, (top, left, height, width) in enumerate(boxes):
    pillow_grid.outline(sheet, (top + header, left, height, width), t, width=3)
    corner = left + 6, top + header + 4
    pen.text(corner, str(t + 1), 'white', font, stroke_width=2, stroke_fill='black')
  return sheet
