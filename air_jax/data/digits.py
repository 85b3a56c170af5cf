"""The 1,797 handwritten digits of 8x8 pixels that scikit-learn ships: no files, no network."""

import functools
import importlib.util
import pathlib

import numpy as np
from jaxtyping import Float
from PIL import Image

from air_jax.data.glyphs import SIZE, Glyphs, GlyphSource
from air_jax.runtime import extras

_TEST_FRACTION = 0.2
_FILE = 'datasets/data/digits.csv.gz'  # of the package sklearn


@functools.cache
def read(folder: pathlib.Path | None, split: str) -> Glyphs:
  """Reads the digits of a split, enlarged to 20x20; the splits share none.

  Args:
    folder: not used.
    split: 'train' or 'test'.

  Returns:
    the digits; the arrays are shared by all callers, and cannot be written to.
  """
  del folder
  rows = _rows()
  order = np.random.default_rng(0).permutation(len(rows))
  test_size = int(_TEST_FRACTION * len(order))
  chosen = rows[order[:test_size] if split == 'test' else order[test_size:]]
  images = np.zeros((len(chosen), SIZE, SIZE), np.uint8)
  for image, small in zip(images, chosen[:, :-1].reshape(-1, 8, 8), strict=True):
    ink = Image.fromarray((small * (255 / 16)).astype(np.uint8))
    image[4:24, 4:24] = np.asarray(ink.resize((20, 20), Image.Resampling.BICUBIC))
  images[images < 16] = 0  # the bicubic kernel rings: that is not ink
  labels = chosen[:, -1].astype(np.int32)
  for array in (images, labels):
    array.flags.writeable = False
  return Glyphs(images, labels)


def _rows() -> Float[np.ndarray, 'N 65']:
  """The digits as scikit-learn keeps them: 64 pixels in [0, 16], and the label."""
  with extras.needed('data', "data.source='digits'"):
    extras.find('sklearn')
    found = importlib.util.find_spec('sklearn')
    # To import the package takes over a second.
    path = pathlib.Path(*((found and found.submodule_search_locations) or ()), _FILE)
    if path.is_file():
      return np.loadtxt(path, delimiter=',')
    from sklearn import datasets  # another version, with the file elsewhere

    digits = datasets.load_digits()
    return np.column_stack([digits.data, digits.target])


SOURCE = GlyphSource(
  read=read,
  about='the handwritten digits that scikit-learn ships, enlarged to 20 pixels',
  citation='E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.',
  license='CC BY 4.0',
)
