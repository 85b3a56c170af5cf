"""Backgrounds, each kind against what its name says."""

import functools
import itertools

import jax
import numpy as np
import pytest
from scipy import stats

from air_jax.data import backgrounds

KINDS = 'black', 'grey', 'gradient', 'texture', 'level', 'colour'
SIZE = 32


@functools.cache
def draw(kind):
  """[1000, SIZE, SIZE, 3]."""
  draw_all = jax.jit(jax.vmap(lambda key: backgrounds.sample(kind, key, SIZE, 3)))
  return np.asarray(draw_all(jax.random.split(jax.random.key(0), 1000)))


def slopes(pictures):
  """Difference from one row, and from one column, to the next; [B, C] each."""
  return [np.diff(pictures, axis=axis).mean((1, 2)) for axis in (1, 2)]


@pytest.mark.parametrize('kind', KINDS)
def test_background_stays_in_its_range_and_differs_between_scenes(kind):
  made = draw(kind)
  assert made.shape == (1000, SIZE, SIZE, 3)
  assert made.min() >= 0 and made.max() <= (1 if kind in ('level', 'colour') else 0.5)
  different = len({picture.tobytes() for picture in made})
  assert different == (1 if kind == 'black' else 1000)


def test_black_is_black():
  assert not draw('black').any()


def test_grey_is_one_level_everywhere_and_levels_are_uniform():
  made = draw('grey')
  assert (made == made[:, :1, :1]).all()
  levels = made[:, 0, 0]
  for channel in levels.T:
    assert stats.kstest(channel, stats.uniform(0, 0.5).cdf).pvalue > 1e-3
  for a, b in itertools.combinations(levels.T, 2):
    assert stats.spearmanr(a, b).pvalue > 1e-3


def test_level_is_the_same_in_all_channels_and_uniform():
  made = draw('level')
  assert (made == made[:, :1, :1, :1]).all()
  assert stats.kstest(made[:, 0, 0, 0], stats.uniform(0, 1).cdf).pvalue > 1e-3


def test_colour_is_one_everywhere_and_its_channels_are_uniform_and_independent():
  made = draw('colour')
  assert (made == made[:, :1, :1]).all()
  for channel in made[:, 0, 0].T:
    assert stats.kstest(channel, stats.uniform(0, 1).cdf).pvalue > 1e-3
  for a, b in itertools.combinations(made[:, 0, 0].T, 2):
    assert stats.spearmanr(a, b).pvalue > 1e-3


def test_gradient_is_affine():
  made = draw('gradient').astype(float)
  for axis in (1, 2):
    steps = np.diff(made, axis=axis)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1, :1], steps.shape), atol=1e-6)


def test_gradient_goes_between_uniform_levels_in_a_uniform_direction():
  made = draw('gradient')
  down, right = slopes(made)
  # All channels change along the same line.
  for channel in (1, 2):
    cross = down[:, 0] * right[:, channel] - right[:, 0] * down[:, channel]
    assert abs(cross).max() < 1e-6
  angles = np.arctan2(down[:, 0], right[:, 0])
  assert stats.kstest(angles, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
  # From corner to corner of the canvas, half a pixel beyond the middles of its own pixels, it
  # goes from one level to the other. Of two uniform ones the sum and the difference are triangular.
  middle, change = made[:, :, :, 0].mean((1, 2)), SIZE * (abs(down) + abs(right))[:, 0]
  assert stats.kstest(middle, stats.triang(0.5, 0, 0.5).cdf).pvalue > 1e-3
  assert stats.kstest(change, stats.triang(0, 0, 0.5).cdf).pvalue > 1e-3


def spectrum(pictures):
  """Root mean square amplitude [SIZE, SIZE] of each wave, and its cycles over the canvas."""
  waves = np.fft.fft2(pictures, axes=(1, 2))
  amplitudes = np.sqrt((abs(waves) ** 2).mean((0, 3)))
  cycles = np.fft.fftfreq(SIZE, 1 / SIZE)
  return amplitudes, np.hypot(cycles[:, None], cycles)


def test_texture_has_amplitudes_of_1_over_f_in_all_directions():
  amplitudes, frequency = spectrum(draw('texture'))
  chosen = (frequency >= 1) & (frequency < SIZE / 2)
  slope, _ = np.polyfit(np.log(frequency[chosen]), np.log(amplitudes[chosen]), 1)
  assert abs(slope + 1) < 0.1
  for f in range(1, SIZE // 2):
    a, b = amplitudes[f, 0], amplitudes[0, f]
    assert abs(np.log(a / b)) < 0.1


def test_texture_has_uniform_levels_and_one_contrast():
  made = draw('texture')
  levels = made.mean((1, 2))
  # Nothing is cut off a texture in the middle of the range, where it can be: +- 2.5 deviations.
  middle = abs(levels - 0.25) < 0.02
  np.testing.assert_allclose(made.std((1, 2))[middle], 0.1, rtol=0.08)
  # Cutting off moves the others inwards, in their order.
  for channel in levels.T:
    assert channel.min() > 0.1 and channel.max() < 0.4
    assert abs(np.median(channel) - 0.25) < 4 * 0.15 / np.sqrt(1000)
    quartiles = np.quantile(channel, (0.25, 0.75))
    np.testing.assert_allclose(quartiles, (0.175, 0.325), atol=0.02)
  for a, b in itertools.combinations(levels.T, 2):
    assert stats.spearmanr(a, b).pvalue > 1e-3


def test_channels_of_a_texture_are_independent():
  made = draw('texture')
  centred = made - made.mean((1, 2), keepdims=True)
  for a, b in itertools.combinations(np.moveaxis(centred, -1, 0), 2):
    products = (a * b).mean((1, 2))
    assert abs(products.mean()) < 4 * products.std() / np.sqrt(len(products))
