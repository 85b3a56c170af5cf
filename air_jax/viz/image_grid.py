"""A grid of small images with titles, as a matplotlib figure."""

import numpy as np
from jaxtyping import Float

from air_jax.viz import palette
from air_jax.viz.backend import Axes, Figure, Rectangle, withStroke

_PITCH = 1.25, 1.06  # inches from one row or column to the next; an image has a side of one inch
_TEXT = 9  # points: 14 pixels at 110 dots an inch, 9 where the figure is shown at two thirds


class ImageGrid:
  """Small images in rows and columns, on one pair of axes: a pair for each would take seconds."""

  def __init__(self, rows: int, columns: int):
    width, height = _PITCH[1] * columns + 0.3, _PITCH[0] * rows + 0.1
    self.figure = Figure(figsize=(width, height))
    self._axes = self.figure.add_axes((0, 0, 1, 1))
    self._axes.set(xlim=(-0.3, width - 0.3), ylim=(height - 0.2, -0.2))
    self._axes.axis('off')

  def show(self, row: int, column: int, pixels: Float[np.ndarray, 'h w C']) -> None:
    """Shows pixels in [0, 1]; sums of overlapping objects above 1 are clipped."""
    top, left = _corner(row, column)
    pixels = np.clip(pixels, 0, 1)
    self._axes.imshow(
      pixels[..., 0] if pixels.shape[-1] == 1 else pixels,
      cmap='gray', vmin=0, vmax=1, extent=(left, left + 1, top + 1, top),
      aspect='auto', interpolation='nearest',
    )  # fmt: skip

  def inset(self, row: int, column: int) -> Axes:
    """Axes in the place of an image, for what is no image."""
    top, left = _corner(row, column)
    width, height = self.figure.get_size_inches()
    below = height - 0.2 - (top + 1)
    return self.figure.add_axes(((left + 0.3) / width, below / height, 1 / width, 1 / height))

  def outline(self, row: int, column: int, box: Float[np.ndarray, ' 4'], step: int) -> None:
    """Outlines a box in the style of an inference step.

    Args:
      row: from 0.
      column: from 0.
      box: (top, left, height, width), as fractions of the image's side.
      step: inference step, from 0.
    """
    top, left = _corner(row, column)
    inside = Rectangle((left, top), 1, 1, transform=self._axes.transData)
    outline = Rectangle(
      (left + box[1], top + box[0]), box[3], box[2], fill=False, linewidth=1.6,
      edgecolor=palette.colour(step), linestyle=palette.line_style(step),
      path_effects=[withStroke(linewidth=3.2, foreground=palette.CASING)],
    )  # fmt: skip
    self._axes.add_patch(outline)
    outline.set_clip_path(inside)

  def title(self, row: int, column: int, text: str, align: str = 'center') -> None:
    """Writes above an image."""
    top, left = _corner(row, column)
    x = left + 0.5 if align == 'center' else left
    self._axes.text(x, top - 0.04, text, fontsize=_TEXT, ha=align, va='bottom')

  def blank(self, row: int, column: int, text: str) -> None:
    """Says in the place of an image why there is none."""
    top, left = _corner(row, column)
    self._axes.text(left + 0.5, top + 0.5, text, fontsize=_TEXT, ha='center', va='center')

  def name_row(self, row: int, text: str) -> None:
    """Writes beside a row, upwards."""
    top, left = _corner(row, 0)
    self._axes.text(
      left - 0.08, top + 0.5, text, fontsize=_TEXT, rotation=90, ha='right', va='center'
    )


def _corner(row: int, column: int) -> tuple[float, float]:
  return row * _PITCH[0], column * _PITCH[1]
