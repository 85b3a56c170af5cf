"""Likelihoods of images against SciPy's densities, and their learned deviation."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
import scipy.stats

from air_jax.model import air, likelihoods

RNG = np.random.default_rng(0)
IMAGE, CANVASES = RNG.uniform(size=(6, 6, 3)), RNG.uniform(size=(4, 6, 6, 3))
NUMBERS = types.SimpleNamespace(likelihood_std=0.3)


def test_student_t_is_the_density_of_that_name_with_the_deviation_asked_for():
  t = scipy.stats.t(4, CANVASES, 0.3 / np.sqrt(2))
  np.testing.assert_allclose(t.std(), 0.3)
  nll = likelihoods.StudentT().prefix_nll(IMAGE, CANVASES, None, NUMBERS).nll
  np.testing.assert_allclose(nll, -t.logpdf(IMAGE).sum((1, 2, 3)), rtol=1e-5)


def test_samples_of_student_t_have_its_distribution():
  canvas = jnp.full((50, 50, 3), 0.4)
  drawn = likelihoods.StudentT().sample(canvas, jax.random.key(0), NUMBERS)
  t = scipy.stats.t(4, 0.4, 0.3 / np.sqrt(2))
  assert scipy.stats.kstest(np.ravel(drawn), t.cdf).pvalue > 1e-3


def test_pixels_far_off_cost_less_than_by_the_gaussian():
  far = IMAGE[None] + 3.0
  costs = [
    likelihoods.resolve(name).prefix_nll(IMAGE, far, None, NUMBERS).nll[0]
    for name in ('student', 'gaussian')
  ]
  assert costs[0] < 0.2 * costs[1]


def _nll(model, params, image, noise):
  rolled = air.rollout(model, params, image, noise)
  return air.elbo_terms(model, params, image, rolled, samples.SUCCESS).nll[2]


@pytest.fixture
def learning(model):
  return samples.variant(model, learn_likelihood_std=True)


def test_a_learned_deviation_starts_as_configured_and_decides_the_bound(model, learning):
  fixed, fixed_params, *_ = samples.variant(model)
  model, params, image, noise = learning
  assert air.numbers(model, params).likelihood_std == np.float32(0.2)
  nll = jax.jit(_nll)
  expected = nll(fixed, fixed_params, image, noise)
  np.testing.assert_allclose(nll(model, params, image, noise), expected, rtol=1e-5)
  params = params | {'likelihood': {'log_std_factor': jnp.float32(np.log(2))}}
  rolled = jax.jit(air.rollout)(model, params, image, noise)
  expected = -scipy.stats.norm.logpdf(image, rolled.canvases[2], 0.4).sum()
  np.testing.assert_allclose(nll(model, params, image, noise), expected, rtol=1e-4)


def test_its_gradient_is_that_of_the_best_fit(learning):
  model, params, image, noise = learning
  rolled = jax.jit(air.rollout)(model, params, image, noise)
  squares = np.mean((image - rolled.canvases[2]) ** 2) / 0.2**2
  slope = jax.jit(jax.grad(_nll, 1))(model, params, image, noise)['likelihood']['log_std_factor']
  # d/ds of r^2 / (2 s^2) + log s, in log s; zero where s is the deviation of the residuals.
  np.testing.assert_allclose(slope, image.size * (1 - squares), rtol=1e-4)


def test_it_stays_above_its_least_value(learning):
  model, params, *_ = learning
  params = params | {'likelihood': {'log_std_factor': jnp.float32(-9)}}
  np.testing.assert_allclose(air.numbers(model, params).likelihood_std, 0.02)
