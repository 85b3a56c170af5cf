"""Losses and their gradients against hand-computed values, enumeration and z-scores."""

import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logsumexp

from air_jax import distributions, objectives
from air_jax.types import ElboTerms

KEY = jax.random.key(0)
SAMPLED = (objectives.reinforce, objectives.nvil, objectives.mvd, objectives.disarm)


def _terms(theta):
  """Terms of a made-up roll-out with T = 3, a function of what gradients are wanted for."""
  return ElboTerms(
    nll=theta['nll'],
    kl_z=theta['kl_z'],
    log_ratio=theta['kl_z'],
    log_q=distributions.count_log_probs(theta['logits']),
    log_p=distributions.geometric_log_probs(0.3, 3),
    baseline=theta['baseline'],
  )


@pytest.fixture
def theta():
  return {
    'nll': jnp.array([5.0, 1.0, 2.0, 3.0]),
    'kl_z': jnp.array([0.0, 1.5, 2.5, 3.0]),
    'logits': jnp.array([0.4, -0.3, 0.8]),
    'baseline': jnp.array(4.5),
  }


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
  theirs = jax.value_and_grad(lambda theta: plain(_terms(theta)))(theta)
  ours = jax.value_and_grad(lambda theta, *e: objective(_terms(theta), KEY, *e))
  _assert_same(ours(theta), theirs)
  _assert_same(jax.jit(ours)(theta, 0.0), theirs)


def test_collapsed_teaches_costs_by_the_bound_and_presence_by_imitation_alone(theta):
  terms = _terms(theta)
  ours = jax.grad(lambda terms: objectives.collapsed(terms, KEY))(terms)
  bound = jax.grad(_summed_out)(terms)
  r = bound.nll
  _assert_same(ours, bound._replace(log_q=-r))
  # Smoothing changes the weights of the costs; what presence imitates stays the posterior itself.
  smoothed = jax.grad(lambda terms: objectives.collapsed(terms, KEY, 0.4))(terms)
  mixed = 0.6 * r + 0.4 / 4
  _assert_same(smoothed, bound._replace(nll=mixed, kl_z=mixed, log_p=-mixed, log_q=-r))


@pytest.mark.parametrize('objective', objectives.OBJECTIVES.values())
def test_full_smoothing_weighs_all_counts_alike(theta, objective):
  def loss(theta, key):
    return objective(_terms(theta), key, 1.0)

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
  terms = _terms(theta)
  least = _summed_out(terms)
  imitation = objectives.collapsed(terms, KEY) - least
  shares = jnp.linspace(0.0, 1.0, 11)
  bounds = jax.vmap(lambda e: objectives.collapsed(terms, KEY, e) - imitation)(shares)
  np.testing.assert_allclose(bounds[0], least, rtol=1e-5)
  assert (np.diff(bounds) > 0).all()
  assert (jax.vmap(lambda e: objectives.exact(terms, KEY, e))(shares) > least).all()


@pytest.mark.parametrize('objective', objectives.OBJECTIVES.values())
def test_losses_are_finite_for_certain_counts_and_costs_of_thousands_of_nats(theta, objective):
  theta |= {'nll': jnp.array([9000.0, 5.0, 3000.0, 0.0]), 'logits': jnp.array([90.0, 90.0, -90.0])}
  loss = jax.jit(jax.value_and_grad(lambda theta, e: objective(_terms(theta), KEY, e)))
  for smoothing in (0.0, 0.5, 1.0):
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(loss(theta, smoothing)))


def _sampled_gradients(objective, theta, smoothing, draws=200_000):
  """Gradients of a sampled loss, one for each of many keys."""
  gradient = jax.grad(lambda theta, key: objective(_terms(theta), key, smoothing))
  keys = jax.random.split(jax.random.key(1), draws)
  return jax.jit(jax.vmap(gradient, (None, 0)))(theta, keys)


@pytest.mark.parametrize('smoothing', (0.0, 0.4))
@pytest.mark.parametrize('objective', SAMPLED)
def test_sampled_gradients_average_to_that_of_exact(theta, objective, smoothing):
  exact = jax.grad(lambda theta: objectives.exact(_terms(theta), KEY, smoothing))(theta)
  sampled = _sampled_gradients(objective, theta, smoothing)
  for name in ('logits', 'nll', 'kl_z'):
    samples = np.asarray(sampled[name], np.float64)
    error = samples.std(0) / np.sqrt(len(samples))
    assert (np.abs(samples.mean(0) - exact[name]) < 4 * error).all(), name


def test_a_good_baseline_lowers_the_variance_and_leaves_the_mean(theta):
  theta['baseline'] = -objectives.elbo(_terms(theta))
  plain = _sampled_gradients(objectives.reinforce, theta, 0.0)['logits']
  good = _sampled_gradients(objectives.nvil, theta, 0.0)['logits']
  assert (good.var(0) < 0.5 * plain.var(0)).all()
  difference = good - plain  # the same keys draw the same counts
  error = difference.std(0) / np.sqrt(len(difference))
  assert (np.abs(difference.mean(0)) < 4 * error).all()


@pytest.mark.parametrize('objective', (objectives.mvd, objectives.disarm))
def test_differences_of_costs_vary_less_than_costs(theta, objective):
  plain = _sampled_gradients(objectives.reinforce, theta, 0.0)['logits']
  ours = _sampled_gradients(objective, theta, 0.0)['logits']
  assert ours.var(0).sum() < 0.5 * plain.var(0).sum()
  # What all counts cost alike teaches the presences nothing, draw by draw.
  dearer = _sampled_gradients(objective, theta | {'nll': theta['nll'] + 100.0}, 0.0)['logits']
  np.testing.assert_allclose(dearer, ours, atol=1e-4)


def test_the_baseline_learns_the_cost_of_the_drawn_count_by_its_squared_error_alone(theta):
  terms = _terms(theta)
  q = np.asarray(jnp.exp(objectives.smooth(terms.log_q, 0.4)))
  costs = terms.nll + terms.kl_z - terms.log_p + np.log(q)
  sampled = _sampled_gradients(objectives.nvil, theta, 0.4)
  drawn = np.argmax(sampled['nll'], 1)
  # The costs learn nothing from the squared error, whatever the baseline.
  np.testing.assert_array_equal(sampled['nll'], np.eye(4)[drawn])
  np.testing.assert_allclose(
    sampled['baseline'], 2 * (theta['baseline'] - costs[drawn]), rtol=1e-4, atol=1e-5
  )


def test_a_program_picks_a_loss_by_its_name():
  losses = {'exact', 'collapsed', 'reinforce', 'nvil', 'mvd', 'disarm'}
  assert objectives.OBJECTIVES == {name: getattr(objectives, name) for name in losses}


def test_the_losses_can_be_had_without_the_libraries_of_the_rest():
  program = """
import sys
from air_jax import distributions, objectives, spatial_transformer
foreign = 'flax optax orbax ml_collections tensorflow tensorflow_datasets absl matplotlib sklearn'
print([name for name in foreign.split() if name in sys.modules])
"""
  root = pathlib.Path(__file__).parents[1]
  found = subprocess.check_output([sys.executable, '-c', program], cwd=root, text=True)
  assert found == '[]\n'
