"""The digits of scikit-learn drawn anew, with pens of several widths."""

import numpy as np
import pytest
from scipy import ndimage

from air_jax.data import digits, pen_digits

EIGHT = np.ones((3, 3))


@pytest.fixture(name='glyphs', scope='module')
def _glyphs():
  with pytest.MonkeyPatch.context() as patch:
    known = digits.read(None, 'test')
    few = known._replace(images=known.images[:60], labels=known.labels[:60])
    patch.setattr(digits, 'read', lambda folder, split: few)
    return pen_digits.read(None, 'test')


def test_lines_are_one_pixel_wide_and_as_connected_as_their_strokes():
  strokes = digits.read(None, 'test').images[:40].repeat(2, 1).repeat(2, 2) > 110
  lines = pen_digits.thin(strokes)
  assert not (lines & ~strokes).any()
  for stroke, line in zip(strokes, lines, strict=True):
    assert ndimage.label(line, EIGHT)[1] == ndimage.label(stroke, EIGHT)[1]
    holes = [ndimage.label(~np.pad(each, 1))[1] for each in (line, stroke)]
    assert holes[0] == holes[1]
    assert not ndimage.binary_erosion(line, np.ones((2, 2))).sum() > 3  # but where lines meet


def test_a_bar_becomes_the_line_in_its_middle():
  bar = np.zeros((1, 20, 20), bool)
  bar[0, 3:17, 6:11] = True
  rows, columns = np.nonzero(pen_digits.thin(bar)[0])
  assert set(columns) == {8} and rows.min() <= 6 and rows.max() >= 13


def test_every_digit_is_drawn_with_every_pen(glyphs):
  number = len(pen_digits.PENS)
  assert glyphs.images.shape == (60 * number, 28, 28) and glyphs.images.dtype == np.uint8
  known = digits.read(None, 'test').labels[:60]
  np.testing.assert_array_equal(glyphs.labels.reshape(number, 60), np.tile(known, (number, 1)))
  ink = glyphs.images.reshape(number, -1).mean(1)
  # Ink grows with the width of the pen, less where strokes run into one another.
  ratios = (ink[1:] / ink[:-1]) / (np.divide(pen_digits.PENS[1:], pen_digits.PENS[:-1]))
  assert (ratios > 0.75).all() and (ratios < 1.05).all()


def test_some_are_turned_and_most_are_wider_than_those_of_scikit_learn(glyphs):
  thin = glyphs.images[:60] > 0
  known = digits.read(None, 'test').images[:60] > 128
  widths, heights = (thin.any(axis).sum(1) for axis in (1, 2))
  assert widths.mean() > 1.1 * known.any(1).sum(1).mean()
  assert (widths > heights).mean() > 0.15
