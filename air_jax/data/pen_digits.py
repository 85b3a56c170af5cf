"""The digits of scikit-learn drawn anew, with thin to thick pens: no files, no network.

The lines of a digit are the middles of its strokes, found by thinning (T. Zhang, C. Suen, "A fast
parallel algorithm for thinning digital patterns", 1984). They are drawn once with each pen, and
each time widened by a random factor, as those of scikit-learn are narrow; half of them are also
turned or mirrored, so that a model learns more than digits.
"""

import pathlib

import numpy as np
import scipy  # imports its parts when they are first used
from jaxtyping import Bool, UInt8
from PIL import Image

from air_jax.data import digits
from air_jax.data.glyphs import SIZE, Glyphs, GlyphSource

PENS = 1.5, 2.5, 3.5, 5.0, 7.0  # pixels, widths; a digit of scikit-learn has strokes of about 5
_FINER = 2  # parts of the side of a pixel, for lines
_INK = 110  # of 255, from which a pixel is part of a stroke
_WIDEST = 1.7  # times the width that it had


def read(folder: pathlib.Path | None, split: str) -> Glyphs:
  """Draws each digit of a split with every pen; the splits share no digit.

  Args:
    folder: not used.
    split: 'train' or 'test'.
  """
  known = digits.read(folder, split)
  side = _FINER * SIZE
  fine = [
    np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
    for image in known.images
  ]
  lines = thin(np.stack(fine) > _INK)
  generator = np.random.default_rng(0)
  images = [_draw(_change(each, generator), pen) for pen in PENS for each in lines]
  return Glyphs(np.stack(images), np.tile(known.labels, len(PENS)))


def _change(
  lines: Bool[np.ndarray, 'H H'], generator: np.random.Generator
) -> Bool[np.ndarray, 'H H']:
  """Widens lines, and turns or mirrors half of them."""
  side = len(lines)
  places = (np.arange(side) + 0.5 - side / 2) / generator.uniform(1, _WIDEST) + side / 2
  lines = lines[:, places.astype(int)]
  turned, mirrored = generator.integers(4), generator.integers(2)
  if generator.integers(2):
    lines = np.rot90(lines[:, ::-1] if mirrored else lines, int(turned))
  return lines


def thin(strokes: Bool[np.ndarray, 'M H W']) -> Bool[np.ndarray, 'M H W']:
  """Takes away the rims of strokes until lines are left, one pixel wide and as connected."""
  lines = np.pad(strokes, ((0, 0), (1, 1), (1, 1)))
  inside = lines[:, 1:-1, 1:-1]
  changed = True
  while changed:
    changed = False
    for first in (True, False):
      # The neighbours of each pixel, clockwise from the one above.
      around = [
        lines[:, 1 + y : lines.shape[1] - 1 + y, 1 + x : lines.shape[2] - 1 + x]
        for y, x in ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
      ]
      up, _, right, _, down, _, left, _ = around
      number = np.sum(around, axis=0)
      starts = np.sum(
        [~one & other for one, other in zip(around, around[1:] + around[:1], strict=True)], axis=0
      )
      if first:
        corner = ~(up & right & down) & ~(right & down & left)
      else:
        corner = ~(up & right & left) & ~(up & down & left)
      rim = inside & (number >= 2) & (number <= 6) & (starts == 1) & corner
      changed |= bool(rim.any())
      inside &= ~rim
  return inside.copy()


def _draw(lines: Bool[np.ndarray, 'H W'], pen: float) -> UInt8[np.ndarray, '28 28']:
  """Inks what lies within half the width of a pen of lines."""
  distances = scipy.ndimage.distance_transform_edt(~lines)
  ink = np.clip(_FINER * pen / 2 + 0.5 - distances, 0, 1)
  small = ink.reshape(SIZE, _FINER, SIZE, _FINER).mean((1, 3))
  return np.round(255 * small).astype(np.uint8)


SOURCE = GlyphSource(
  read=read,
  about='the handwritten digits that scikit-learn ships, drawn with pens of 1.5 to 7 pixels',
  citation=digits.SOURCE.citation,
  license=digits.SOURCE.license,
)
