"""Losses and their gradients against hand-computed values, enumeration and z-scores."""

import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
from jax.scipy.special import logsumexp
from samples import sampled_gradients, terms_of

from air_jax import objectives
from air_jax.types import Baseline, ElboTerms

KEY = jax.random.key(0)
LOSSES = (objectives.exact, objectives.collapsed, objectives.reinforce, objectives.nvil)


@pytest.fixture
def theta():
  return samples.theta()


@pytest.fixture
def two_counts():
  """T = 1 with q = (3/4, 1/4) and p = (1/2, 1/2)."""
  log_q, log_p = jnp.log(jnp.array([0.75, 0.25])), jnp.log(jnp.array([0.5, 0.5]))
  nll, kl_z = jnp.array([4.0, 1.0]), jnp.array([0.0, 2.0])
  return ElboTerms(nll, kl_z, kl_z, log_q, log_p, jnp.zeros(()))


def _plain_exact(terms):
  q = jnp.exp(terms.log_q)
  return q @ (terms.nll + terms.kl_z - terms.log_p + terms.log_q)


def _summed_out(terms):
  """-log sum_k exp(-G[k])."""
  return -logsumexp(terms.log_p - terms.nll - terms.kl_z)


def _plain_collapsed(terms):
  r = jax.lax.stop_gradient(jax.nn.softmax(terms.log_p - terms.nll - terms.kl_z))
  return _summed_out(terms) - r @ terms.log_q


def _assert_same(ours, theirs):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), ours, theirs)


def test_exact_is_the_hand_computed_negative_elbo(two_counts):
  expected = 0.75 * (4 + np.log(1.5)) + 0.25 * (3 + np.log(0.5))
  np.testing.assert_allclose(objectives.exact(two_counts, KEY), expected, rtol=1e-6)
  np.testing.assert_allclose(objectives.elbo(two_counts), -expected, rtol=1e-6)


def test_smoothing_mixes_the_posterior_with_the_uniform_distribution(two_counts):
  smoothed = objectives.smooth(jnp.log(jnp.array([0.7, 0.2, 0.1])), 0.3)
  np.testing.assert_allclose(jnp.exp(smoothed), [0.59, 0.24, 0.17], rtol=1e-5)
  # Half of (3/4, 1/4) and half of (1/2, 1/2):
  expected = 0.625 * (4 + np.log(1.25)) + 0.375 * (3 + np.log(0.75))
  np.testing.assert_allclose(objectives.exact(two_counts, KEY, 0.5), expected, rtol=1e-6)


def test_collapsed_is_the_hand_computed_bound_plus_cross_entropy(two_counts):
  weights = 0.5 * np.exp([-4.0, -3.0])
  r = weights / weights.sum()
  expected = -np.log(weights.sum()) - r @ np.log([0.75, 0.25])
  np.testing.assert_allclose(objectives.collapsed(two_counts, KEY), expected, rtol=1e-6)


@pytest.mark.parametrize(
  ('objective', 'plain'),
  ((objectives.exact, _plain_exact), (objectives.collapsed, _plain_collapsed)),
)
def test_without_smoothing_values_and_gradients_are_the_plain_ones(theta, objective, plain):
  theirs = jax.value_and_grad(lambda theta: plain(terms_of(theta)))(theta)
  ours = jax.value_and_grad(lambda theta, *e: objective(terms_of(theta), KEY, *e))
  _assert_same(ours(theta), theirs)
  _assert_same(jax.jit(ours)(theta, 0.0), theirs)


def test_collapsed_teaches_costs_by_the_bound_and_presence_by_imitation_alone(theta):
  terms = terms_of(theta)
  ours = jax.grad(lambda terms: objectives.collapsed(terms, KEY))(terms)
  bound = jax.grad(_summed_out)(terms)
  r = bound.nll
  _assert_same(ours, bound._replace(log_q=-r))
  # Smoothing changes the weights of the costs; what presence imitates stays the posterior itself.
  smoothed = jax.grad(lambda terms: objectives.collapsed(terms, KEY, 0.4))(terms)
  mixed = 0.6 * r + 0.4 / 4
  _assert_same(smoothed, bound._replace(nll=mixed, kl_z=mixed, log_p=-mixed, log_q=-r))


@pytest.mark.parametrize('objective', LOSSES)
def test_full_smoothing_weighs_all_counts_alike(theta, objective):
  def loss(theta, key):
    return objective(terms_of(theta), key, 1.0)

  values, gradients = jax.vmap(jax.value_and_grad(loss), (None, 0))(
    theta, jax.random.split(KEY, 4096)
  )
  assert np.isfinite(values).all()
  _assert_same(gradients['kl_z'], gradients['nll'])
  np.testing.assert_allclose(gradients['nll'].mean(0), 4 * [0.25], atol=0.03)
  imitates = objective is objectives.collapsed
  assert bool((gradients['logits'] != 0).any()) == imitates
  assert np.isfinite(gradients['logits']).all()


def test_smoothed_losses_stay_upper_bounds_of_the_summed_out_cost(theta):
  terms = terms_of(theta)
  least = _summed_out(terms)
  imitation = objectives.collapsed(terms, KEY) - least
  shares = jnp.linspace(0.0, 1.0, 11)
  bounds = jax.vmap(lambda e: objectives.collapsed(terms, KEY, e) - imitation)(shares)
  np.testing.assert_allclose(bounds[0], least, rtol=1e-5)
  assert (np.diff(bounds) > 0).all()
  assert (jax.vmap(lambda e: objectives.exact(terms, KEY, e))(shares) > least).all()


@pytest.mark.parametrize('objective', LOSSES)
def test_losses_are_finite_for_certain_counts_and_costs_of_thousands_of_nats(theta, objective):
  theta |= {'nll': jnp.array([9000.0, 5.0, 3000.0, 0.0]), 'logits': jnp.array([90.0, 90.0, -90.0])}
  loss = jax.jit(jax.value_and_grad(lambda theta, e: objective(terms_of(theta), KEY, e)))
  for smoothing in (0.0, 0.5, 1.0):
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(loss(theta, smoothing)))


@pytest.mark.parametrize('smoothing', (0.0, 0.4))
@pytest.mark.parametrize('objective', (objectives.reinforce, objectives.nvil))
def test_sampled_gradients_average_to_that_of_exact(theta, objective, smoothing):
  samples.assert_unbiased(objective, theta, smoothing)


def test_a_good_baseline_lowers_the_variance_and_leaves_the_mean(theta):
  mean = -objectives.elbo(terms_of(theta))
  theta['baseline'] = Baseline(jnp.full(3, mean), jnp.zeros(()), jnp.ones(()))
  plain = sampled_gradients(objectives.reinforce, theta, 0.0)['logits']
  good = sampled_gradients(objectives.nvil, theta, 0.0)['logits']
  assert (good.var(0) < 0.5 * plain.var(0)).all()
  difference = good - plain  # the same keys draw the same counts
  error = difference.std(0) / np.sqrt(len(difference))
  assert (np.abs(difference.mean(0)) < 4 * error).all()


def test_the_baseline_learns_the_cost_of_the_drawn_count_by_its_squared_error_alone(theta):
  terms = terms_of(theta)
  q = np.asarray(jnp.exp(objectives.smooth(terms.log_q, 0.4)))
  costs = terms.nll + terms.kl_z - terms.log_p + np.log(q)
  sampled = sampled_gradients(objectives.nvil, theta, 0.4)
  drawn = np.argmax(sampled['nll'], 1)
  # The costs learn nothing from the squared error, whatever the baseline.
  np.testing.assert_array_equal(sampled['nll'], np.eye(4)[drawn])
  guess, centre, variance = sampled['baseline']
  left = costs[drawn] - 4.5
  np.testing.assert_allclose(guess[:, 0], -2 * (left - 0.5), rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(guess[:, 1:], 0)
  # Plain gradient descent moves an average by a share of its distance.
  np.testing.assert_allclose(centre, 0.5 - left, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(variance, 0.64 - (left - 0.5) ** 2, rtol=1e-4, atol=1e-4)


def test_the_signal_is_what_was_not_expected_in_deviations_above_one(theta):
  for variance, divisor in ((2.25, 1.5), (0.04, 1.0), (0.0, 1.0)):
    baseline = theta['baseline']._replace(variance=jnp.array(variance))
    signal, lesson = objectives.score_signal(7.0, 4.5, baseline)
    np.testing.assert_allclose(signal, 2.0 / divisor, rtol=1e-6)
    np.testing.assert_allclose(lesson, 4.0, rtol=1e-6)


def test_the_losses_can_be_had_without_the_libraries_of_the_rest():
  program = """
import sys
from air_jax import objectives
from air_jax.model import spatial_transformer
from air_jax.objectives import distributions, registry
foreign = 'flax optax orbax ml_collections tensorflow tensorflow_datasets absl matplotlib sklearn'
print([name for name in foreign.split() if name in sys.modules])
"""
  root = pathlib.Path(__file__).parents[1]
  found = subprocess.check_output([sys.executable, '-c', program], cwd=root, text=True)
  assert found == '[]\n'
