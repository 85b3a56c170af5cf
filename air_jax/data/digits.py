"""The 1,797 handwritten digits of 8x8 pixels that scikit-learn ships: no files, no network."""

import pathlib

import numpy as np
from PIL import Image

from air_jax.data.glyphs import SIZE, Glyphs, GlyphSource
from air_jax.runtime import extras

_TEST_FRACTION = 0.2


def read(folder: pathlib.Path | None, split: str) -> Glyphs:
  """Reads the digits of a split, enlarged to 20x20; the splits share none.

  Args:
    folder: not used.
    split: 'train' or 'test'.
  """
  del folder
  with extras.needed('data', "data.source='digits'"):
    from sklearn import datasets  # takes a second to import, and only this source needs it

  digits = datasets.load_digits()
  order = np.random.default_rng(0).permutation(len(digits.images))
  test_size = int(_TEST_FRACTION * len(order))
  chosen = order[:test_size] if split == 'test' else order[test_size:]
  images = np.zeros((len(chosen), SIZE, SIZE), np.uint8)
  for image, small in zip(images, digits.images[chosen], strict=True):
    ink = Image.fromarray((small * (255 / 16)).astype(np.uint8))
    image[4:24, 4:24] = np.asarray(ink.resize((20, 20), Image.Resampling.BICUBIC))
  images[images < 16] = 0  # the bicubic kernel rings: that is not ink
  return Glyphs(images, digits.target[chosen].astype(np.int32))


SOURCE = GlyphSource(
  read=read,
  about='the handwritten digits that scikit-learn ships, enlarged to 20 pixels',
  citation='E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.',
  license='CC BY 4.0',
)
