"""Losses that go through each presence: means against `exact`, variances, hand-computed values."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
import samples
from samples import sampled_gradients, terms_of

from air_jax import objectives
from air_jax.objectives import distributions, per_step
from air_jax.types import Baseline

KEY = jax.random.key(0)
UNBIASED = (per_step.nvil_to_go, per_step.mvd, per_step.disarm)
LOSSES = (*UNBIASED, per_step.concrete)


@pytest.fixture
def theta():
  return samples.theta() | {'baseline': Baseline(jnp.zeros(3), jnp.zeros(()), jnp.ones(()))}


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
def test_what_all_counts_cost_alike_teaches_the_presences_nothing(theta, objective):
  dearer = theta | {'nll': theta['nll'] + 100.0}
  ours, theirs = (
    sampled_gradients(objective, given, 0.0, 10_000)['logits'] for given in (theta, dearer)
  )
  np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_presence_answers_for_what_follows_it_alone(theta):
  """The whole cost is what NVIL without a baseline weighs each decision by."""
  theta['nll'] = jnp.array([50.0, 20.0, 1.0, 2.0])  # what the first presence brings is settled
  whole = sampled_gradients(objectives.nvil, theta, 0.0)['logits']
  to_go = sampled_gradients(per_step.nvil_to_go, theta, 0.0)['logits']
  assert (to_go.var(0)[1:] < 0.5 * whole.var(0)[1:]).all()


def test_the_baseline_learns_what_is_left_of_the_cost_at_the_presences_reached(theta):
  theta['baseline'] = Baseline(jnp.array([4.5, 2.0, 1.0]), jnp.array(0.5), jnp.array(0.64))
  log_q, cost = objectives.costs(terms_of(theta), 0.0)
  q = np.exp(log_q)
  known = np.asarray(cost - log_q)[:3] + np.log([1.0, q[1:].sum(), q[2:].sum()])
  sampled = sampled_gradients(per_step.nvil_to_go, theta, 0.0, 200)
  drawn = np.argmax(sampled['nll'], 1)
  left = cost[drawn][:, None] - known - theta['baseline'].guess
  reached = np.arange(1, 4) <= drawn[:, None] + 1
  number = reached.sum(1, keepdims=True)
  expected = np.where(reached, -2 * (left - 0.5) / number, 0)
  guess, centre, variance = sampled['baseline']
  np.testing.assert_allclose(guess, expected, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(centre, 0.5 - np.mean(left, 1, where=reached), rtol=1e-3, atol=1e-4)
  square = np.mean((left - 0.5) ** 2, 1, where=reached)
  np.testing.assert_allclose(variance, 0.64 - square, rtol=1e-3, atol=1e-3)


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
  # Relaxed presences are 3, 2 and 1 times in 4 above a half; their shares come near that.
  tolerance = 0.1 if objective is per_step.concrete else 0.03
  np.testing.assert_allclose(gradients['kl_z'].mean(0), 4 * [0.25], atol=tolerance)
  if objective is not per_step.concrete:
    np.testing.assert_allclose(gradients['kl_z'], gradients['nll'], atol=1e-5)


@pytest.mark.parametrize('objective', LOSSES)
def test_losses_are_finite_for_certain_counts_and_costs_of_thousands_of_nats(theta, objective):
  theta |= {'nll': jnp.array([9000.0, 5.0, 3000.0, 0.0]), 'logits': jnp.array([90.0, 90.0, -90.0])}
  loss = jax.jit(jax.value_and_grad(lambda theta, e: objective(terms_of(theta), KEY, e)))
  for smoothing in (0.0, 0.5, 1.0):
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(loss(theta, smoothing)))
