"""Losses of the presence at each step: means against `exact`, variances, hand-computed values."""

import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
import samples
from samples import sampled_gradients, terms_of, value_of

from air_jax import objectives
from air_jax.objectives import SignalAverages, distributions, per_step

KEY = jax.random.key(0)
UNBIASED = (per_step.nvil_to_go, per_step.mvd, per_step.disarm)
LOSSES = (*UNBIASED, per_step.concrete)


@pytest.fixture
def theta():
  return samples.theta() | {'baseline': jnp.zeros(3)}


@pytest.mark.parametrize('smoothing', (0.0, 0.4))
@pytest.mark.parametrize('objective', UNBIASED)
def test_gradients_average_to_that_of_exact(theta, objective, smoothing):
  samples.assert_unbiased(objective, theta, smoothing)


@pytest.mark.parametrize('objective', (per_step.mvd, per_step.disarm))
def test_differences_of_costs_vary_less_than_costs(theta, objective):
  plain = sampled_gradients(objectives.reinforce, theta, 0.0)['logits']
  ours = sampled_gradients(objective, theta, 0.0)['logits']
  assert ours.var(0).sum() < 0.5 * plain.var(0).sum()


@pytest.mark.parametrize('objective', UNBIASED)
def test_a_cost_that_all_counts_share_gives_the_presences_no_gradient(theta, objective):
  more = theta | {'nll': theta['nll'] + 100.0}
  ours, theirs = (
    sampled_gradients(objective, given, 0.0, 10_000)['logits'] for given in (theta, more)
  )
  np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_presence_answers_for_what_follows_it_alone(theta):
  """NVIL without a baseline weights each decision by the whole cost."""
  theta['nll'] = jnp.array([50.0, 20.0, 1.0, 2.0])  # the first presence decides nearly all of it
  whole = sampled_gradients(objectives.nvil, theta, 0.0)['logits']
  to_go = sampled_gradients(per_step.nvil_to_go, theta, 0.0)['logits']
  assert (to_go.var(0)[1:] < 0.5 * whole.var(0)[1:]).all()


@pytest.mark.parametrize(
  ('state', 'mean'),
  (
    (SignalAverages(), 0.0),
    (SignalAverages(jnp.array(0.5), jnp.array(0.64)), 0.5),
  ),
)
def test_the_baseline_learns_the_cost_to_go_at_the_presences_reached(theta, state, mean):
  theta['baseline'] = jnp.array([4.5, 2.0, 1.0])
  log_q, cost = objectives.costs(terms_of(theta), 0.0)
  q = np.exp(log_q)
  known = np.asarray(cost - log_q)[:3] + np.log([1.0, q[1:].sum(), q[2:].sum()])

  def loss(theta, key):
    return per_step.nvil_to_go(terms_of(theta), key, 0.0, state)

  run = jax.jit(jax.vmap(jax.grad(loss, has_aux=True), (None, 0)))
  gradients, states = run(theta, jax.random.split(KEY, 200))
  sampled = np.argmax(gradients['nll'], 1)
  residual = cost[sampled][:, None] - known - theta['baseline']
  reached = np.arange(1, 4) <= sampled[:, None] + 1
  number = reached.sum(1, keepdims=True)
  expected = np.where(reached, -2 * (residual - mean) / number, 0)
  np.testing.assert_allclose(gradients['baseline'], expected, rtol=1e-3, atol=1e-4)
  if state.mean is None:
    assert states == (None, None)
  else:
    observed = np.mean(residual, 1, where=reached)
    np.testing.assert_allclose(states.mean, 0.8 * 0.5 + 0.2 * observed, rtol=1e-3, atol=1e-4)
    square = np.mean((residual - 0.5) ** 2, 1, where=reached)
    np.testing.assert_allclose(states.variance, 0.8 * 0.64 + 0.2 * square, rtol=1e-3, atol=1e-3)


def test_the_averages_enter_the_signal_of_every_presence(theta):
  """With a scale of 2 and no baseline, the score is half of what it is without averages."""
  plain = sampled_gradients(per_step.nvil_to_go, theta, 0.0, 200)['logits']
  pathwise = sampled_gradients(_without_score, theta, 0.0, 200)['logits']
  scaled = functools.partial(per_step.nvil_to_go, state=SignalAverages(variance=jnp.array(4.0)))
  scaled = sampled_gradients(scaled, theta, 0.0, 200)['logits']
  np.testing.assert_allclose(scaled - pathwise, (plain - pathwise) / 2, rtol=1e-3, atol=1e-4)
  assert np.abs(plain - pathwise).max() > 0.1


def _without_score(terms, key, smoothing):
  return objectives.sampled_cost(terms, key, smoothing)[0]


def test_a_hot_presence_is_a_half_and_a_cold_one_a_drawn_count(theta):
  terms = terms_of(theta)
  kl = distributions.count_kl(terms.log_q, terms.log_p)
  keys = jax.random.split(KEY, 20_000)
  run = jax.jit(jax.vmap(lambda key, t: per_step.concrete(terms, key, 0.0, t), (0, None)))
  weights = np.array([1, -1 / 2, -1 / 4, -1 / 8])
  nll = terms.nll[0] + 0.5 * (weights @ terms.products @ weights - terms.products[0, 0])
  kl_z = np.array([1 / 2, 1 / 4, 1 / 8]) @ np.diff(terms.kl_z)
  np.testing.assert_allclose(run(keys, 1e6), nll + kl_z + kl, rtol=1e-4)
  cold = np.asarray(run(keys, 1e-4), np.float64)
  costs = terms.nll + terms.kl_z + kl
  nearest = np.abs(cold[:, None] - costs).min(1)
  assert np.quantile(nearest, 0.99) < 1e-3
  error = cold.std() / np.sqrt(len(cold))
  assert abs(cold.mean() - objectives.exact(terms, KEY)) < 4 * error


def test_the_relaxed_gradient_is_that_of_differences(theta):
  def loss(logits, products, kl_z):
    given = theta | {'logits': logits, 'products': products, 'kl_z': kl_z}
    return per_step.concrete(terms_of(given), KEY, 0.3, 0.8)

  args = theta['logits'], theta['products'], theta['kl_z']
  jax.test_util.check_grads(loss, args, order=1, modes=['rev'], atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize('objective', LOSSES)
def test_full_smoothing_weighs_all_counts_alike(theta, objective):
  gradients = sampled_gradients(objective, theta, 1.0, 4096)
  assert not gradients['logits'].any()
  # Relaxed presences are above a half 3, 2 and 1 times in 4; their means are close to that.
  tolerance = 0.1 if objective is per_step.concrete else 0.03
  np.testing.assert_allclose(gradients['kl_z'].mean(0), 4 * [0.25], atol=tolerance)
  if objective is not per_step.concrete:
    np.testing.assert_allclose(gradients['kl_z'], gradients['nll'], atol=1e-5)


@pytest.mark.parametrize('objective', LOSSES)
def test_losses_are_finite_for_certain_counts_and_costs_of_thousands_of_nats(theta, objective):
  theta |= {'nll': jnp.array([9000.0, 5.0, 3000.0, 0.0]), 'logits': jnp.array([90.0, 90.0, -90.0])}
  loss = jax.jit(jax.value_and_grad(lambda theta, e: value_of(objective, terms_of(theta), KEY, e)))
  for smoothing in (0.0, 0.5, 1.0):
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(loss(theta, smoothing)))
