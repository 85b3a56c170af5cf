"""A grid of small pictures, as contact sheets are."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle


class Sheet:
  """A grid of small pictures on one pair of axes: a pair for each would take seconds to lay out."""

  _STEP = (1.22, 1.06)  # rows and columns, in units of a picture's side

  def __init__(self, rows, columns):
    width, height = self._STEP[1] * columns + 0.3, self._STEP[0] * rows + 0.1
    self.figure = Figure(figsize=(width, height))
    self._axes = self.figure.add_axes((0, 0, 1, 1))
    self._axes.set(xlim=(-0.3, width - 0.3), ylim=(height - 0.2, -0.2))
    self._axes.axis('off')

  def image(self, row, column, picture):
    """Shows a picture, [H, W, C] in [0, 1]."""
    top, left = self._corner(row, column)
    picture = np.clip(picture, 0, 1)  # painted objects add up
    if picture.shape[-1] == 1:
      picture = picture[..., 0]
    self._axes.imshow(
      picture, cmap='gray', vmin=0, vmax=1, extent=(left, left + 1, top + 1, top),
      aspect='auto', interpolation='nearest',
    )  # fmt: skip

  def outline(self, row, column, box, colour):
    """Outlines a box (top, left, height, width), in units of a picture's side."""
    top, left = self._corner(row, column)
    frame = Rectangle((left, top), 1, 1, transform=self._axes.transData)
    outline = Rectangle(
      (left + box[1], top + box[0]), box[3], box[2], fill=False, edgecolor=colour, linewidth=1.3
    )
    self._axes.add_patch(outline)
    outline.set_clip_path(frame)

  def title(self, row, column, text, colour='black', align='center'):
    """Writes above a picture."""
    top, left = self._corner(row, column)
    x = left + 0.5 if align == 'center' else left
    self._axes.text(x, top - 0.04, text, fontsize=6.5, color=colour, ha=align, va='bottom')

  def name_row(self, row, text):
    """Writes beside a row, upwards."""
    top, left = self._corner(row, 0)
    self._axes.text(left - 0.08, top + 0.5, text, fontsize=7, rotation=90, ha='right', va='center')

  def _corner(self, row, column):
    return row * self._STEP[0], column * self._STEP[1]
