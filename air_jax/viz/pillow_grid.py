"""A grid of small images drawn by Pillow, for animations: matplotlib takes a second for each frame.

`ImageGrid` of image_grid.py is its counterpart for still figures, which have more text, and SVG.
"""

import itertools
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from air_jax.viz import palette

SIDE, GAP, HEADER = 100, 6, 20  # pixels of an image, between two, of the text above
_TEXT = 13  # pixels


class PillowGrid:
  """Small images in rows and columns under a line of text. `image` is the Pillow image."""

  def __init__(self, rows: int, columns: int, title: str):
    self.columns = columns
    size = columns * (SIDE + GAP) + GAP, rows * (SIDE + GAP) + HEADER
    self.image = Image.new('RGB', size, 'white')
    self._pen = ImageDraw.Draw(self.image)
    self._pen.text((GAP, 3), title, 'black', ImageFont.load_default(_TEXT))

  def show(
    self,
    row: int,
    column: int,
    pixels: Float[np.ndarray, 'h w C'],
    windows: Float[np.ndarray, 'M 4'] | None = None,
    frame: int | None = None,
  ) -> None:
    """Shows pixels in [0, 1].

    Args:
      row: from 0.
      column: from 0.
      pixels: values outside of [0, 1] are clipped; NaN is black.
      windows: those of the first M inference steps, (top, left, height, width) as fractions of the
        image's side.
      frame: the inference step whose colour and pattern frame the image; None draws no frame.
    """
    shown = to_image(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    for t, box in enumerate([] if windows is None else SIDE * np.nan_to_num(windows)):
      outline(shown, box, t)
    if frame is not None:
      outline(shown, (0, 0, SIDE - 1, SIDE - 1), frame)
    self.image.paste(shown, self._corner(row, column))

  def text(self, row: int, column: int, text: str) -> None:
    """Writes in the place of an image."""
    left, top = self._corner(row, column)
    self._pen.text((left + 10, top + 34), text, palette.GREY, ImageFont.load_default(_TEXT))

  def _corner(self, row: int, column: int) -> tuple[int, int]:
    return GAP + column * (SIDE + GAP), HEADER + row * (SIDE + GAP)


def to_image(pixels: Float[np.ndarray, 'h w C']) -> Image.Image:
  """Pixels in [0, 1] as a Pillow image in RGB; values outside are clipped, NaN is black."""
  values = np.round(255 * np.clip(np.nan_to_num(pixels), 0, 1)).astype(np.uint8)
  return Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).convert('RGB')


def outline(image: Image.Image, box: Iterable[float], step: int, width: int = 2) -> None:
  """Outlines a box (top, left, height, width), in pixels, in the style of an inference step.

  A black margin of a pixel keeps the line visible on bright images.
  """
  top, left, height, wide = box
  pen, pattern = ImageDraw.Draw(image), [width * length for length in palette.pattern(step)]
  lines = []  # (left, top, right, bottom) of each dash
  for start, stop in _dashes(wide, pattern):
    lines += [
      (left + start, y, left + stop, y + width - 1) for y in (top, top + height - width + 1)
    ]
  for start, stop in _dashes(height, pattern):
    lines += [(x, top + start, x + width - 1, top + stop) for x in (left, left + wide - width + 1)]
  for margin, colour in ((1, 'black'), (0, palette.colour(step))):
    for x0, y0, x1, y1 in lines:
      pen.rectangle((x0 - margin, y0 - margin, x1 + margin, y1 + margin), fill=colour)


def _dashes(length: float, pattern: list[float]) -> Iterable[tuple[float, float]]:
  """Where dashes start and stop along a line; without a pattern it is one dash."""
  if not pattern:
    yield 0.0, length
    return
  start = 0.0
  for i, part in enumerate(itertools.cycle(pattern)):
    if start > length:
      return
    if i % 2 == 0:
      yield start, min(start + part - 1, length)
    start += part
