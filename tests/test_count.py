"""Losses and their gradients against hand-computed values, enumeration and z-scores."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
from jax.scipy.special import logsumexp
from samples import sampled_gradients, terms_of, value_of

from air_jax import objectives
from air_jax.objectives import SignalAverages
from air_jax.types import ElboTerms

KEY = jax.random.key(0)
NVIL = functools.partial(objectives.nvil, state=SignalAverages(jnp.array(0.5), jnp.array(0.64)))
LOSSES = (objectives.exact, objectives.collapsed, objectives.reinforce, NVIL)


@pytest.fixture
def theta():
  return samples.theta()


@pytest.fixture
def two_counts():
  """T = 1 with q = (3/4, 1/4) and p = (1/2, 1/2)."""
  log_q, log_p = jnp.log(jnp.array([0.75, 0.25])), jnp.log(jnp.array([0.5, 0.5]))
  nll, kl_z = jnp.array([4.0, 1.0]), jnp.array([0.0, 2.0])
  return ElboTerms(nll, kl_z, None, log_q, log_p)


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
    return value_of(objective, terms_of(theta), key, 1.0)

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
  weights = jnp.linspace(0.0, 1.0, 11)
  bounds = jax.vmap(lambda e: objectives.collapsed(terms, KEY, e) - imitation)(weights)
  np.testing.assert_allclose(bounds[0], least, rtol=1e-5)
  assert (np.diff(bounds) > 0).all()
  assert (jax.vmap(lambda e: objectives.exact(terms, KEY, e))(weights) > least).all()


@pytest.mark.parametrize('objective', LOSSES)
def test_losses_are_finite_for_certain_counts_and_costs_of_thousands_of_nats(theta, objective):
  theta |= {'nll': jnp.array([9000.0, 5.0, 3000.0, 0.0]), 'logits': jnp.array([90.0, 90.0, -90.0])}
  loss = jax.jit(jax.value_and_grad(lambda theta, e: value_of(objective, terms_of(theta), KEY, e)))
  for smoothing in (0.0, 0.5, 1.0):
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(loss(theta, smoothing)))


@pytest.mark.parametrize('smoothing', (0.0, 0.4))
@pytest.mark.parametrize('objective', (objectives.reinforce, NVIL))
def test_sampled_gradients_average_to_that_of_exact(theta, objective, smoothing):
  samples.assert_unbiased(objective, theta, smoothing)


def test_a_good_baseline_lowers_the_variance_and_leaves_the_mean(theta):
  mean = -objectives.elbo(terms_of(theta))
  theta['baseline'] = jnp.full(3, mean)
  plain = sampled_gradients(objectives.reinforce, theta, 0.0)['logits']
  good = sampled_gradients(objectives.nvil, theta, 0.0)['logits']
  assert (good.var(0) < 0.5 * plain.var(0)).all()
  difference = good - plain  # the same keys draw the same counts
  error = difference.std(0) / np.sqrt(len(difference))
  assert (np.abs(difference.mean(0)) < 4 * error).all()


@pytest.mark.parametrize(
  ('state', 'mean', 'scale'),
  (
    (SignalAverages(), 0.0, 1.0),
    (SignalAverages(mean=jnp.array(0.5)), 0.5, 1.0),
    (SignalAverages(variance=jnp.array(2.25)), 0.0, 1.5),
    (SignalAverages(jnp.array(0.5), jnp.array(0.64)), 0.5, 1.0),
  ),
)
def test_nvil_is_its_formula_and_its_baseline_learns_by_the_squared_error_alone(
  theta, state, mean, scale
):
  """The formula is computed from the count that was sampled."""
  terms = terms_of(theta)
  log_q = objectives.smooth(terms.log_q, 0.4)
  costs = np.asarray(terms.nll + terms.kl_z - terms.log_p + log_q)

  def loss(theta, key):
    return objectives.nvil(terms_of(theta), key, 0.4, state)

  run = jax.vmap(jax.value_and_grad(loss, has_aux=True), (None, 0))
  (values, states), gradients = run(theta, jax.random.split(KEY, 100))
  # The costs learn nothing from the squared error, whatever the baseline.
  sampled = np.argmax(gradients['nll'], 1)
  np.testing.assert_array_equal(gradients['nll'], np.eye(4)[sampled])
  assert len(np.unique(sampled)) > 2
  residual = costs[sampled] - 4.5
  centred = residual - mean
  expected = costs[sampled] + centred / scale * np.asarray(log_q)[sampled] + centred**2
  np.testing.assert_allclose(values, expected, rtol=1e-4)
  np.testing.assert_allclose(gradients['baseline'][:, 0], -2 * centred, rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(gradients['baseline'][:, 1:], 0)
  # Averaged over a batch, the new states are what SGD with a rate of 0.2 makes of the old one.
  for old, new, observed in zip(state, states, (residual, centred**2), strict=True):
    if old is None:
      assert new is None
    else:
      np.testing.assert_allclose(new, 0.8 * old + 0.2 * observed, rtol=1e-4, atol=1e-5)
      np.testing.assert_allclose(new.mean(), 0.8 * old + 0.2 * observed.mean(), rtol=1e-4)


def test_nothing_is_differentiated_through_the_moving_averages(theta):
  state = SignalAverages(jnp.array(0.5), jnp.array(2.25))

  def loss(theta, state):
    value, new = objectives.nvil(terms_of(theta), KEY, 0.4, state)
    return value, new

  value_in_state = jax.grad(lambda state: loss(theta, state)[0])(state)
  new_in_theta = jax.jacrev(lambda theta: loss(theta, state)[1])(theta)
  for leaf in jax.tree.leaves((value_in_state, new_in_theta)):
    np.testing.assert_array_equal(leaf, 0)


def test_the_signal_is_scaled_by_deviations_above_one_and_the_baseline_loss_is_not():
  for variance, divisor in ((2.25, 1.5), (0.04, 1.0), (0.0, 1.0)):
    averages = SignalAverages(jnp.array(0.5), jnp.array(variance))
    learning = objectives.learning_signal(jnp.array(7.0), jnp.array(4.5), averages)
    np.testing.assert_allclose(learning.signal, 2.0 / divisor, rtol=1e-6)
    np.testing.assert_allclose(learning.baseline_loss, 4.0, rtol=1e-6)


@pytest.mark.parametrize('centre', (False, True))
@pytest.mark.parametrize('normalise', (False, True))
def test_the_averages_that_are_kept_start_without_effect(theta, centre, normalise):
  class Options:
    pass

  Options.centre, Options.normalise = centre, normalise
  state = objectives.init_averages(Options)
  assert (state.mean is not None, state.variance is not None) == (centre, normalise)
  loss, _ = objectives.nvil(terms_of(theta), KEY, 0.4, state)
  np.testing.assert_array_equal(loss, objectives.nvil(terms_of(theta), KEY, 0.4)[0])


def test_summary_is_the_bound_and_its_parts(two_counts):
  summary = objectives.summary(two_counts)
  np.testing.assert_allclose(summary['nll'], 0.75 * 4 + 0.25 * 1, rtol=1e-6)
  kl = 0.75 * np.log(1.5) + 0.25 * (2 + np.log(0.5))
  np.testing.assert_allclose(summary['kl'], kl, rtol=1e-5)
  np.testing.assert_allclose(summary['elbo'], -3.25 - kl, rtol=1e-6)


@pytest.mark.parametrize('batched', (False, True))
def test_smoothing_acts_on_the_last_axis(batched):
  log_w = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]))
  smoothed = jnp.exp(objectives.smooth(log_w if batched else log_w[0], 0.3))
  expected = np.array([[0.59, 0.24, 0.17], [0.17, 0.31, 0.52]])
  np.testing.assert_allclose(smoothed, expected if batched else expected[0], rtol=1e-5)
