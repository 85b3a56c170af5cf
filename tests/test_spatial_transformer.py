"""Cropping and painting against a sampler that visits one pixel at a time."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from air_jax.model import spatial_transformer as transformer

WINDOWS = ((0.4, 0.13, -0.21), (0.27, -0.8, 0.9), (1.3, 0.3, 0.1))
SMALL, LARGE = np.random.default_rng(0).uniform(size=(2, 12, 9, 3))
SMALL = SMALL[:4, :5]


def _read(picture, row, column):
  """Bilinear reading of one point, [C]; 0 beyond the picture."""
  total = 0.0
  for i in (math.floor(row), math.floor(row) + 1):
    for j in (math.floor(column), math.floor(column) + 1):
      if 0 <= i < picture.shape[0] and 0 <= j < picture.shape[1]:
        total += (1 - abs(row - i)) * (1 - abs(column - j)) * picture[i, j]
  return total


def _outline(window, height, width):
  """Left, top, width and height of a window in pixels, counted from the picture's outer edges."""
  scale, x, y = window
  return (x + 1 - scale) / 2 * width, (y + 1 - scale) / 2 * height, scale * width, scale * height


def _bump(size, row, column, spread):
  rows, columns = np.mgrid[:size, :size]
  return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * spread**2))[..., None]


@pytest.mark.parametrize('window', WINDOWS)
def test_crop_reads_what_direct_bilinear_sampling_reads(window):
  left, top, width, height = _outline(window, *LARGE.shape[:2])
  direct = np.zeros((5, 5, 3))
  for i in range(5):
    for j in range(5):
      row, column = top + (i + 0.5) / 5 * height, left + (j + 0.5) / 5 * width
      direct[i, j] = _read(LARGE, row - 0.5, column - 0.5)
  with jax.enable_x64(True):
    np.testing.assert_allclose(transformer.crop(LARGE, np.array(window), 5), direct, atol=1e-12)


@pytest.mark.parametrize('window', WINDOWS)
def test_paint_puts_down_what_direct_bilinear_sampling_reads(window):
  left, top, width, height = _outline(window, 11, 11)
  direct = np.zeros((11, 11, 3))
  for i in range(11):
    for j in range(11):
      row, column = (i + 0.5 - top) / height * 4, (j + 0.5 - left) / width * 5
      direct[i, j] = _read(SMALL, row - 0.5, column - 0.5)
  with jax.enable_x64(True):
    np.testing.assert_allclose(transformer.paint(SMALL, np.array(window), 11), direct, atol=1e-12)


def test_a_window_on_the_whole_canvas_changes_nothing():
  whole, picture = np.array([1.0, 0.0, 0.0]), LARGE[:9]
  np.testing.assert_allclose(transformer.crop(picture, whole, 9), picture, atol=1e-6)
  np.testing.assert_allclose(transformer.paint(picture, whole, 9), picture, atol=1e-6)


def test_painting_a_crop_brings_a_smooth_bump_back_to_its_place():
  window = np.array([0.5, 0.2, -0.3])
  picture = _bump(50, row=50 * 0.35 - 2, column=50 * 0.6 + 3, spread=3.0)
  glimpse = transformer.crop(picture, window, 30)
  np.testing.assert_allclose(transformer.paint(glimpse, window, 50), picture, atol=0.05)


def test_cropping_what_was_painted_gives_a_smooth_glimpse_back():
  window, glimpse = np.array([0.5, 0.2, -0.3]), _bump(20, row=8, column=11, spread=2.8)
  canvas = transformer.paint(glimpse, window, 50)
  np.testing.assert_allclose(transformer.crop(canvas, window, 20), glimpse, atol=0.05)


@pytest.mark.parametrize('window', ((0.3, 0.4, -0.5), (0.62, -0.13, 0.21)))
def test_paint_lands_in_the_box_and_leaves_the_rest_blank(window):
  canvas = np.asarray(transformer.paint(np.ones((6, 6, 1)), np.array(window), 50))[..., 0]
  top, left, height, width = transformer.box(np.array(window), 50)
  centres = np.arange(50) + 0.5
  share = canvas / canvas.sum()
  np.testing.assert_allclose(canvas.sum(), height * width, rtol=0.02)
  np.testing.assert_allclose(share.sum(1) @ centres, top + height / 2, atol=0.05)
  np.testing.assert_allclose(share.sum(0) @ centres, left + width / 2, atol=0.05)
  # The outermost glimpse pixels fade to 0 half a glimpse pixel beyond the outline.
  fade = width / 6 / 2
  rows = (centres > top - fade) & (centres < top + height + fade)
  columns = (centres > left - fade) & (centres < left + width + fade)
  np.testing.assert_array_equal(canvas > 0, np.outer(rows, columns))


def test_box_is_the_outline_in_pixels():
  np.testing.assert_allclose(transformer.box(jnp.array([0.5, -0.5, 0.25]), 40), [15, 0, 20, 20])
  np.testing.assert_allclose(transformer.box(jnp.array([1.0, 0.0, 0.0]), 40), [0, 0, 40, 40])


def test_place_squashes_scale_by_a_sigmoid_and_shift_by_a_tanh():
  raw = jnp.array([math.log(0.42 / 0.58), math.atanh(0.3), math.atanh(-0.9)])
  np.testing.assert_allclose(transformer.place(raw), [0.42, 0.3, -0.9], rtol=1e-5)


@pytest.mark.parametrize('window', WINDOWS)
def test_gradients_are_those_of_finite_differences(window):
  with jax.enable_x64(True):
    where = np.array(window)
    check_grads(lambda *a: transformer.crop(*a, 5), (LARGE, where), order=1, modes=['rev'])
    check_grads(lambda *a: transformer.paint(*a, 11), (SMALL, where), order=1, modes=['rev'])
    check_grads(transformer.place, (where,), order=1, modes=['rev'])
