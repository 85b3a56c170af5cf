"""Smooth backgrounds that a model infers for each scene."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
import scipy.special


def _variant(model, **changes):
  code = {'background_code_size': 4, 'channels': 3}
  return samples.variant(model, **code, **changes)


def _misfit(picture, degree):
  """What a polynomial of the place leaves of a picture, at most; by least squares."""
  y, x = np.mgrid[: len(picture), : len(picture)] / len(picture)
  powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
  terms = np.stack([(y**i * x**j).ravel() for i, j in powers], -1)
  flat = picture.reshape(-1, picture.shape[-1])
  return np.abs(terms @ np.linalg.lstsq(terms, flat, rcond=None)[0] - flat).max()


@pytest.mark.parametrize('degree', (0, 1, 2))
def test_log_odds_of_the_colours_are_a_polynomial_of_no_less_than_its_degree(model, degree):
  model, params, *_ = _variant(model, background='polynomial', background_degree=degree)
  z = jax.random.normal(jax.random.key(5), (4,))
  picture = scipy.special.logit(np.float64(model.networks.decode_background(params, z)))
  assert picture.shape == (50, 50, 3)
  assert _misfit(picture, degree) < 1e-4
  assert not degree or _misfit(picture, degree - 1) > 1e-3
  other = model.networks.decode_background(params, -z)
  assert np.abs(scipy.special.logit(other) - picture).max() > 1e-2


@pytest.mark.parametrize('kind', ('polynomial', 'latent'))
def test_backgrounds_start_at_one_level(model, kind):
  model, params, *_ = _variant(model, background=kind, background_degree=2)
  params['background_decoder']['output']['kernel'] *= 0
  picture = model.networks.decode_background(params, jnp.ones(4))
  level = scipy.special.expit(model.numbers.output_bias)
  np.testing.assert_allclose(picture, np.full((50, 50, 3), level), rtol=1e-5)
