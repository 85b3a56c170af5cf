"""The embedded digits, against those of scikit-learn."""

import collections

import numpy as np
from PIL import Image
from sklearn import datasets

from air_jax.data import digits


def test_embedded_splits_share_no_picture_and_hold_every_digit_once():
  given = collections.Counter()
  known = datasets.load_digits()
  for small, label in zip(known.images, known.target, strict=True):
    enlarged = Image.fromarray((small * 15.9375).astype(np.uint8)).resize((20, 20), Image.BICUBIC)
    picture = np.pad(np.where(np.asarray(enlarged) < 16, 0, enlarged).astype(np.uint8), 4)
    given[picture.tobytes(), int(label)] += 1
  train, test = (
    collections.Counter(
      (image.tobytes(), int(label)) for image, label in zip(*digits.read(None, split), strict=True)
    )
    for split in ('train', 'test')
  )
  assert train + test == given
  assert not {picture for picture, _ in train} & {picture for picture, _ in test}
  assert test.total() == 359


def test_digits_are_had_from_a_package_that_keeps_them_elsewhere(monkeypatch):
  rows = digits._rows()
  monkeypatch.setattr(digits, '_FILE', 'elsewhere')
  np.testing.assert_array_equal(digits._rows(), rows)
