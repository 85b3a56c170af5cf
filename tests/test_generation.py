"""Scenes from the prior, and log p(x) by them against the bound."""

import jax
import numpy as np
import pytest
import samples
import scipy.stats
from jax.scipy.special import logsumexp

from air_jax import objectives
from air_jax.model import air

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def generated(model):
  """4,000 scenes from the prior: latents, canvases and their backgrounds."""
  model, params, *_ = samples.variant(model, background='latent', background_code_size=2)

  def generate(key):
    latents = air.sample_prior(model, params, key)
    background = model.networks.decode_background(params, latents.z_background)
    return latents, air.decode(model, params, latents), background

  return jax.jit(jax.vmap(generate))(jax.random.split(jax.random.key(4), 4000))


def test_scenes_from_the_prior_have_its_distributions(generated):
  drawn, *_ = generated
  assert scipy.stats.chisquare(np.bincount(drawn.count, minlength=4)).pvalue > 1e-3
  for t in range(3):
    for i, (mean, std) in enumerate(((np.log(0.42 / 0.58), 0.05), (0, 1), (0, 1))):
      assert scipy.stats.kstest(drawn.z_where[:, t, i], 'norm', (mean, std)).pvalue > 1e-3
    assert scipy.stats.kstest(drawn.z_what[:, t, 0], 'norm').pvalue > 1e-3
  for i in range(2):
    assert scipy.stats.kstest(drawn.z_background[:, i], 'norm').pvalue > 1e-3
  # All numbers of a scene are independent.
  flat = np.concatenate([part.reshape(4000, -1) for part in drawn], 1)
  assert np.abs(np.corrcoef(flat.T) - np.eye(flat.shape[1])).max() < 5 / np.sqrt(4000)


def test_generated_scenes_are_glimpses_on_a_background(generated):
  drawn, pictures, backgrounds = generated
  assert pictures.shape == (4000, 50, 50, 1)
  added = np.asarray(pictures - backgrounds).max((1, 2, 3))
  assert (pictures >= backgrounds).all() and (added <= drawn.count).all()
  np.testing.assert_array_equal(added > 0, drawn.count > 0)
  assert (np.ptp(backgrounds, 0) > 0).all()


@pytest.fixture(scope='module')
def many(model):
  """A wide posterior and a weak likelihood, for importance sampling; terms of 10,000 roll-outs."""
  model, params, image, _ = samples.variant(
    model,
    max_steps=2,
    background='latent',
    background_code_size=2,
    likelihood_std=4.0,
    size_prior_std=0.5,
    where_std_bias=0.8,
    what_std_bias=0.9,
  )
  noise = air.sample_noise(model, jax.random.key(6), (10_000,))
  terms = jax.lax.map(
    lambda noise: samples.terms(model, params, image, noise), noise, batch_size=1000
  )
  return model, params, image, terms


def _log_mean_exp(x):
  """The logarithm of the mean of exp(x), and its standard error."""
  share = np.exp(np.asarray(x, np.float64) - np.max(x))
  error = share.std() / share.mean() / np.sqrt(len(share))
  return np.log(share.mean()) + np.max(x), error


def test_log_ratio_averages_to_the_kl(many):
  *_, terms = many
  difference = np.asarray(terms.log_ratio - terms.kl_z, np.float64)
  error = difference.std(0) / np.sqrt(len(difference))
  assert (np.abs(difference.mean(0)) < 4 * error).all()
  # The error grows with each object; that of an empty scene is the background's.
  assert (0 < error[0]) and (np.diff(error) > 0).all() and (error < 0.05).all()


def test_posterior_and_prior_sampling_agree_on_log_p_and_bounds_are_below(many):
  model, params, image, terms = many
  weights = logsumexp(terms.log_p - terms.nll - terms.log_ratio, axis=1)
  log_p, error = _log_mean_exp(weights)

  def log_likelihood(key):
    latents = air.sample_prior(model, params, key, samples.SUCCESS)
    canvas = air.decode(model, params, latents)
    return jax.scipy.stats.norm.logpdf(image, canvas, 4.0).sum()

  keys = jax.random.split(jax.random.key(7), 10_000)
  prior_log_p, prior_error = _log_mean_exp(jax.lax.map(log_likelihood, keys, batch_size=1000))
  assert error < 0.1 and prior_error < 0.1
  assert abs(log_p - prior_log_p) < 4 * np.hypot(error, prior_error)

  elbo = np.mean(jax.vmap(objectives.elbo)(terms))
  one_sample = np.mean(weights)  # the strict form of `collapsed`, less its cross-entropy
  assert elbo < one_sample - 0.1 < log_p - 0.2


def test_without_a_baseline_there_are_no_parameters_of_one(many):
  _, params, _, terms = many
  assert terms.baseline is None and 'baseline' not in params
