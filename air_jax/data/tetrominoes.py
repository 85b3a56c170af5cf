"""The 19 shapes of four squares: glyphs that need no files.

The published Tetrominoes (Kabra et al., "Multi-object datasets", 2019) have 17 of them, on 35x35
pixels, three in a scene, each square of 5x5 pixels.
"""

import pathlib

import numpy as np

from air_jax.data.glyphs import SIZE, Glyphs, GlyphSource

_CELL = 5  # pixels
_Cells = frozenset[tuple[int, int]]


def shapes() -> list[_Cells]:
  """The (row, column) of the squares of each shape, from 0; turned and mirrored ones are others."""
  grown: set[_Cells] = {frozenset({(0, 0)})}
  for _ in range(3):
    grown = {
      _from_zero(cells | {(row + down, column + right)})
      for cells in grown
      for row, column in cells
      for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0))
      if (row + down, column + right) not in cells
    }
  return sorted(grown, key=sorted)


def read(folder: pathlib.Path | None, split: str) -> Glyphs:
  """Draws all shapes, the same for both splits.

  Args:
    folder: not used.
    split: not used.
  """
  del folder, split
  images = np.zeros((len(shapes()), SIZE, SIZE), np.uint8)
  for image, cells in zip(images, shapes(), strict=True):
    for row, column in cells:
      top, left = 4 + _CELL * row, 4 + _CELL * column
      image[top : top + _CELL, left : left + _CELL] = 255
  return Glyphs(images, np.arange(len(images), dtype=np.int32))


def _from_zero(cells: _Cells) -> _Cells:
  top, left = min(row for row, _ in cells), min(column for _, column in cells)
  return frozenset((row - top, column - left) for row, column in cells)


SOURCE = GlyphSource(
  read=read,
  about='the shapes of four squares of 5 pixels',
  citation='R. Kabra et al., Multi-Object Datasets, 2019.',
  license='Apache 2.0',
)
