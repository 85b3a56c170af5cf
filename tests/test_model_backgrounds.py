"""Smooth backgrounds that a model infers for each scene."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
import scipy.special

from air_jax.model import backgrounds

SIZES = {0: 3, 1: 9, 2: 18}  # of the code of a polynomial of a degree, in colour


def _variant(model, **changes):
  return samples.variant(model, channels=3, **changes)


def _polynomial(model, degree):
  size = SIZES[degree]
  return _variant(
    model, background='polynomial', background_degree=degree, background_code_size=size
  )


def _light(size=50):
  """A picture in colour that is a polynomial of degree 2."""
  y, x = np.mgrid[:size, :size] / size
  return np.stack([0.3 + 0.3 * x, 0.5 - 0.2 * y + 0.1 * x * y, 0.4 + 0.2 * x - 0.3 * x**2], -1)


def _misfit(picture, degree):
  """What a polynomial of the place leaves of a picture, at most; by least squares."""
  y, x = np.mgrid[: len(picture), : len(picture)] / len(picture)
  powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
  terms = np.stack([(y**i * x**j).ravel() for i, j in powers], -1)
  flat = picture.reshape(-1, picture.shape[-1])
  return np.abs(terms @ np.linalg.lstsq(terms, flat, rcond=None)[0] - flat).max()


@pytest.mark.parametrize('degree', (0, 1, 2))
def test_a_polynomial_has_no_less_than_its_degree(model, degree):
  model, params, *_ = _polynomial(model, degree)
  z = jax.random.normal(jax.random.key(5), (SIZES[degree],)) / 4
  picture = np.float64(model.networks.decode_background(params, z))
  assert picture.shape == (50, 50, 3)
  assert 0.0 < picture.min() < picture.max() < 1.0
  assert _misfit(picture, degree) < 1e-5
  assert not degree or _misfit(picture, degree - 1) > 1e-2
  other = model.networks.decode_background(params, -z)
  assert np.abs(other - picture).max() > 1e-2


@pytest.mark.parametrize('size', (50, 64, 97))
def test_objects_on_two_fifths_of_the_image_do_not_change_the_fit(size):
  light, image = _light(size), _light(size)
  fifth = size // 5
  image[fifth : 3 * fifth, : 2 * fifth] = [1.0, 0.9, 0.2]
  image[2 * fifth :, 3 * fifth :] = [0.0, 0.1, 0.6]
  assert np.isclose(image, light).all(-1).mean() < 0.62
  numbers = backgrounds.fit(jnp.asarray(image, jnp.float32), 2)
  np.testing.assert_allclose(backgrounds.terms(size, 2) @ numbers, light, atol=2e-3)


def test_the_fit_is_that_of_least_squares_where_there_is_only_noise():
  rng = np.random.default_rng(0)
  image = _light(32) + rng.normal(0, 0.01, (32, 32, 3))
  terms = backgrounds.terms(32, 2).reshape(-1, 6)
  expected = np.linalg.lstsq(terms, image.reshape(-1, 3), rcond=None)[0]
  numbers = backgrounds.fit(jnp.asarray(image, jnp.float32), 2)
  np.testing.assert_allclose(numbers, expected, atol=2e-3)


def test_the_code_of_a_polynomial_describes_the_fit_by_a_learned_prior(model):
  model, params, *_ = _polynomial(model, 2)
  image = jnp.asarray(_light(), jnp.float32)
  draw = jax.random.normal(jax.random.key(3), (6, 3))
  prior = {'prior_mean': 0.3 * draw, 'prior_log_std': -1.0 + 0.2 * draw, 'log_std': draw - 4.0}
  fitted = backgrounds.fit(image, 2)
  for own in (params['background'], prior):
    code = model.networks.encode_background(params | {'background': own}, image)
    picture = model.networks.decode_background(params | {'background': own}, code.mean)
    np.testing.assert_allclose(picture, image, atol=2e-3)
    mean = (fitted - own['prior_mean']) / np.exp(own['prior_log_std'])
    np.testing.assert_allclose(code.mean, np.ravel(mean), rtol=1e-4, atol=1e-4)
    std = np.exp(own['log_std'] - own['prior_log_std'])
    np.testing.assert_allclose(code.std, np.ravel(std), rtol=1e-4)


def test_no_pixel_of_a_polynomial_is_below_black_or_above_white(model):
  model, params, *_ = _polynomial(model, 1)
  picture = model.networks.decode_background(params, jnp.full(9, 3.0))
  assert (picture.min(), picture.max()) == (0.0, 1.0)


def test_latent_backgrounds_start_at_one_level(model):
  model, params, *_ = _variant(model, background='latent', background_code_size=4)
  params['background_decoder']['output']['kernel'] *= 0
  picture = model.networks.decode_background(params, jnp.ones(4))
  level = scipy.special.expit(model.numbers.output_bias)
  np.testing.assert_allclose(picture, np.full((50, 50, 3), level), rtol=1e-5)
