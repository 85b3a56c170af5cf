"""What an explanation leaves of an image."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from air_jax.evaluation import residuals

RNG = np.random.default_rng(0)


def square(value, at=(3, 4), size=6, side=24, channels=1):
  image = np.zeros((side, side, channels), np.float32)
  image[at[0] : at[0] + size, at[1] : at[1] + size] = value
  return image


@pytest.mark.parametrize('level', [0.0, 0.5])
def test_the_share_of_ink_is_that_of_the_objects_painted(level):
  background = np.full((24, 24, 1), level, np.float32)
  one, other = square(0.4), square(-0.3, at=(14, 12))
  canvas, image = background + one, background + one + (other if level else -other)
  share = residuals.ink_explained(image, background, canvas, 0.1)
  assert share == pytest.approx(0.3 / (0.3 + 0.2), abs=1e-5)  # each less the noise
  assert residuals.ink_explained(image, background, image, 0.1) == 1.0
  assert residuals.ink_explained(image, background, background, 0.1) == 0.0
  assert residuals.ink_explained(image, background, 1 - image, 0.1) == 0.0  # worse than nothing


def test_noise_is_no_ink_and_colour_counts_once():
  background = np.zeros((24, 24, 3), np.float32)
  noise = RNG.uniform(-0.1, 0.1, background.shape).astype(np.float32)
  assert residuals.ink_explained(noise, background, background, 0.1) == 1.0
  image = square(np.float32([0.9, 0.0, 0.0]), channels=3)
  assert residuals.ink_explained(image, background, 0.5 * image, 0.1) == pytest.approx(
    1 - 0.35 / 0.8, abs=1e-5
  )


def test_band_energies_are_those_of_differences_of_gaussians():
  image = RNG.uniform(size=(24, 30, 2)).astype(np.float32)
  blurred = [image, *(ndimage.gaussian_filter(image, (s, s, 0)) for s in (1, 2, 4, 8))]
  bands = [*(a - b for a, b in zip(blurred, blurred[1:], strict=False)), blurred[-1]]
  expected = [np.mean(band**2) for band in bands]
  np.testing.assert_allclose(residuals.band_energies(jnp.asarray(image)), expected, rtol=1e-4)


def test_regions_are_connected_and_large_enough():
  off = np.zeros((20, 20), bool)
  off[1:4, 1:4] = True
  off[4:7, 4:7] = True  # touches the first at a corner
  off[10, 10:15] = True
  off[15:18, 2:5] = True
  labels = residuals.regions(off, 9)
  assert labels.max() == 2
  assert labels[1, 1] == labels[6, 6] == 1 and labels[16, 3] == 2 and not labels[10].any()
  assert residuals.largest_region(off) == 18
  assert residuals.regions(off, 1).max() == 3 and residuals.largest_region(off & False) == 0


def test_a_pixel_is_off_where_one_channel_is():
  image = np.zeros((2, 2, 3), np.uint8)
  canvas = np.zeros((2, 2, 3), np.float32)
  image[0, 0, 1], canvas[1, 1, 2] = 128, 0.4
  assert residuals.off(image, canvas, 0.45).tolist() == [[True, False], [False, False]]
  assert residuals.off(image, canvas, 0.35).tolist() == [[True, False], [False, True]]


def test_sizes_of_the_objects_of_a_label_image():
  labels = np.zeros((9, 9), np.uint16)
  labels[:2, :3], labels[5:, 5:] = 3, 1  # there is no 2
  contrast = np.where(labels == 3, 0.5, 0.1)
  contrast[6, 6] = 0.9
  np.testing.assert_allclose(residuals.object_sizes(labels, contrast), [[16, 0.9], [6, 0.5]])
  assert residuals.object_sizes(0 * labels, contrast).shape == (0, 2)
