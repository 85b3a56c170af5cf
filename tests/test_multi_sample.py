"""Losses of several roll-outs: values and gradients against enumeration of all sampled counts."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import value_of

from air_jax import objectives
from air_jax.errors import UserError
from air_jax.objectives import SignalAverages, distributions, multi_sample
from air_jax.objectives.registry import ESTIMATORS
from air_jax.types import ElboTerms

KEY = jax.random.key(0)
K, T = 3, 2
LOSSES = [estimator.loss for estimator in ESTIMATORS.values() if estimator.particles]
AVERAGES = SignalAverages(jnp.array(0.5), jnp.array(1.0))
IWAE = functools.partial(multi_sample.iwae, state=AVERAGES)
SAMPLED = (IWAE, multi_sample.vimco, multi_sample.vimco_arithmetic)


@pytest.fixture
def theta():
  rng = np.random.default_rng(0)
  return {
    'nll': jnp.asarray(rng.uniform(0, 4, (K, T + 1)), jnp.float32),
    'log_ratio': jnp.asarray(rng.normal(0, 1, (K, T + 1)), jnp.float32),
    'logits': jnp.asarray(rng.normal(0, 1, (K, T)), jnp.float32),
    'baseline': jnp.array([[2.0, 9.0], [1.0, 9.0], [3.0, 9.0]]),
  }


def _terms(theta):
  """Terms of K made-up roll-outs, as a function of the arrays to differentiate in."""
  return ElboTerms(
    nll=theta['nll'],
    kl_z=jnp.full((K, T + 1), jnp.nan),  # not to be read
    log_ratio=theta['log_ratio'],
    log_q=jax.vmap(distributions.count_log_probs)(theta['logits']),
    log_p=jnp.tile(distributions.geometric_log_probs(0.3, T), (K, 1)),
    baseline=theta['baseline'],
  )


def _by_enumeration(theta, smoothing):
  """The expected bound, over all counts of all particles."""
  terms = _terms(theta)
  log_q = jax.vmap(lambda log_q: objectives.smooth(log_q, smoothing))(terms.log_q)
  log_w = terms.log_p - terms.nll - terms.log_ratio - log_q
  expected = 0.0
  for counts in itertools.product(range(T + 1), repeat=K):
    chosen = np.arange(K), np.array(counts)
    bound = jnp.log(jnp.exp(log_w[chosen]).mean())
    expected += jnp.exp(log_q[chosen].sum()) * bound
  return expected


@pytest.mark.parametrize('smoothing', (0.0, 0.4))
@pytest.mark.parametrize('objective', SAMPLED)
def test_gradients_average_to_that_of_the_expected_bound(theta, objective, smoothing):
  exact = jax.grad(lambda theta: -_by_enumeration(theta, smoothing))(theta)
  gradient = jax.grad(lambda theta, key: value_of(objective, _terms(theta), key, smoothing))
  keys = jax.random.split(jax.random.key(1), 100_000)
  sampled = jax.jit(jax.vmap(gradient, (None, 0)))(theta, keys)
  for name in ('logits', 'nll', 'log_ratio'):
    samples = np.asarray(sampled[name], np.float64)
    error = samples.std(0) / np.sqrt(len(samples)) + 1e-6
    assert (np.abs(samples.mean(0) - exact[name]) < 4 * error).all(), name


def test_leave_one_out_signals_vary_less_than_the_bound(theta):
  def variance(objective):
    theta_without = theta | {'baseline': jnp.zeros((K, T))}
    gradient = jax.grad(lambda theta, key: value_of(objective, _terms(theta), key))
    sampled = jax.vmap(gradient, (None, 0))(theta_without, jax.random.split(KEY, 20_000))
    return sampled['logits'].var(0).sum()

  assert variance(multi_sample.vimco) < 0.5 * variance(multi_sample.iwae)
  assert variance(multi_sample.vimco_arithmetic) < 0.5 * variance(multi_sample.iwae)


def test_the_baseline_of_iwae_learns_the_negative_bound(theta):
  counts, log_q = jnp.zeros(K, int), jnp.full((K, T), -90.0)  # no objects, with certainty
  terms = _terms(theta | {'logits': log_q})
  bound = jnp.log(jnp.exp(terms.log_p - terms.nll - terms.log_ratio)[jnp.arange(K), counts].mean())

  def loss(baseline):
    return multi_sample.iwae(terms._replace(baseline=baseline), KEY, 0.0, AVERAGES)

  gradient, state = jax.grad(loss, has_aux=True)(terms.baseline)
  residual = -bound - terms.baseline[:, 0]
  np.testing.assert_allclose(gradient[:, 0], -2 / K * (residual - 0.5), rtol=1e-4)
  np.testing.assert_allclose(state.mean, 0.8 * 0.5 + 0.2 * residual.mean(), rtol=1e-4)
  square = ((residual - 0.5) ** 2).mean()
  np.testing.assert_allclose(state.variance, 0.8 * 1.0 + 0.2 * square, rtol=1e-4)


def test_one_particle_is_the_loss_of_one_roll_out(theta):
  terms = jax.tree.map(lambda x: x[:1], _terms(theta))
  alone = jax.tree.map(lambda x: x[0], terms)._replace(kl_z=terms.log_ratio[0])
  for smoothing in (0.0, 0.4):
    np.testing.assert_allclose(
      multi_sample.collapsed_iwae(terms, KEY, smoothing),
      objectives.collapsed(alone, KEY, smoothing),
      rtol=1e-5,
    )


def test_collapsed_iwae_is_its_formula_with_its_gradient(theta):
  def plain(theta):
    terms = _terms(theta)
    joint = jnp.exp(terms.log_p - terms.nll - terms.log_ratio)
    weight = jax.lax.stop_gradient(joint / joint.sum())  # of particle and count
    return -jnp.log(joint.sum() / K) - (weight * terms.log_q).sum()

  ours = jax.value_and_grad(lambda theta: multi_sample.collapsed_iwae(_terms(theta), KEY))(theta)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    ours,
    jax.value_and_grad(plain)(theta),
  )


def _wake(theta, n):
  """The two parts of `rws` for given counts: weighted cost, weighted log q."""
  terms, chosen = _terms(theta), (np.arange(K), n)
  log_w = (terms.log_p - terms.nll - terms.log_ratio - terms.log_q)[chosen]
  weight = jax.lax.stop_gradient(jax.nn.softmax(log_w))
  return weight @ terms.nll[chosen], weight @ (terms.log_ratio + terms.log_q)[chosen]


def test_rws_lowers_the_cost_and_raises_log_q_of_its_weighted_particles(theta):
  gradients = {}
  for counts in itertools.product(range(T + 1), repeat=K):
    n = np.array(counts)
    cost, log_q = (jax.grad(lambda theta, i=i, n=n: _wake(theta, n)[i])(theta) for i in (0, 1))
    gradients[counts] = cost['nll'], -log_q['log_ratio'], -log_q['logits']
  gradient = jax.jit(jax.grad(lambda theta, key: multi_sample.rws(_terms(theta), key)))
  seen = set()
  for key in jax.random.split(KEY, 30):
    ours = gradient(theta, key)
    counts = tuple(np.argmax(ours['nll'] != 0, 1).tolist())
    for name, expected in zip(('nll', 'log_ratio', 'logits'), gradients[counts], strict=True):
      np.testing.assert_allclose(ours[name], expected, rtol=1e-4, atol=1e-6)
    seen.add(counts)
  assert len(seen) > 10


def test_rws_of_many_particles_points_to_the_posterior_of_the_count():
  """Where roll-outs are all alike, log q learns p(n | x), with smoothing as without."""
  many, log_joint = 4000, jnp.log(jnp.array([0.2, 0.5, 0.3]))
  logits = jnp.array([0.3, -0.2])

  def loss(logits, key, smoothing):
    log_q = distributions.count_log_probs(logits)
    terms = ElboTerms(-log_joint, jnp.nan * log_q, 0 * log_q, log_q, 0 * log_q)
    repeated = jax.tree.map(lambda x: jnp.tile(x, (many, 1)), terms)
    return multi_sample.rws(repeated, key, smoothing)

  def cross_entropy(logits):
    return -jnp.exp(log_joint) @ distributions.count_log_probs(logits)

  expected = jax.grad(cross_entropy)(logits)
  for smoothing in (0.0, 0.5):
    gradient = jax.grad(loss)(logits, KEY, smoothing)
    np.testing.assert_allclose(gradient, expected, atol=0.03)


def test_more_particles_and_fewer_samples_give_tighter_bounds(theta):
  terms = _terms(theta)
  summed_out = multi_sample.log_mean_exp(multi_sample.log_weights(terms))
  assert multi_sample.log_weights(terms).mean() < summed_out
  assert _by_enumeration(theta, 0.0) < summed_out


@pytest.mark.parametrize('objective', LOSSES)
def test_losses_are_finite_for_certain_counts_and_costs_of_thousands_of_nats(theta, objective):
  theta |= {'nll': theta['nll'] * 3000, 'logits': jnp.array([[90.0, -90.0]] * K)}
  loss = jax.jit(jax.value_and_grad(lambda theta, e: value_of(objective, _terms(theta), KEY, e)))
  for smoothing in (0.0, 0.5, 1.0):
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(loss(theta, smoothing)))


def test_latent_weights_are_those_in_the_loss():
  rng = np.random.default_rng(1)
  nll, ratio = (jnp.asarray(rng.normal(0, 1, (K, 3)), jnp.float32) for _ in range(2))
  log_q = jnp.log(jnp.full((K, 3), 1 / 3))

  def terms(ratio):
    return ElboTerms(nll, None, ratio, log_q, log_q)

  gradient = jax.grad(lambda ratio: multi_sample.collapsed_iwae(terms(ratio), None, 0.3))(ratio)
  expected = np.cumsum(gradient[:, ::-1], 1)[:, ::-1]
  np.testing.assert_allclose(multi_sample.latent_weights(terms(ratio), 0.3), expected, rtol=1e-5)
  # Each is a function of its own particle alone, with the derivative of a softmax.
  by_ratio = jax.jacrev(lambda ratio: multi_sample.latent_weights(terms(ratio), 0.0)[:, 0])(ratio)
  own = multi_sample.latent_weights(terms(ratio), 0.0)[:, 0]
  derivatives = np.array([by_ratio[i, i].sum() for i in range(K)])
  np.testing.assert_allclose(derivatives, -own * (1 - own), rtol=1e-4)
  others = [by_ratio[i, j] for i in range(K) for j in range(K) if i != j]
  np.testing.assert_array_equal(np.stack(others), 0)


@pytest.mark.parametrize('objective', (*LOSSES, multi_sample.latent_weights))
def test_terms_of_one_roll_out_and_of_batches_are_refused(theta, objective):
  terms = _terms(theta)
  args = () if objective is multi_sample.latent_weights else (KEY,)
  for given, shape, advice in (
    (jax.tree.map(lambda x: x[0], terms), r'\(3,\)', ''),
    (jax.tree.map(lambda x: jnp.stack([x, x]), terms), r'\(2, 3, 3\)', '; jax.vmap it over images'),
  ):
    says = (
      rf'^{objective.__name__} takes the terms of K roll-outs of one image, fields \[K, T \+ 1\]; '
      rf'nll has shape {shape}{advice}$'
    )
    with pytest.raises(UserError, match=says):
      objective(given, *args)


@pytest.mark.parametrize('objective', (*LOSSES, multi_sample.log_weights))
def test_an_absent_log_ratio_is_named(theta, objective):
  args = () if objective is multi_sample.log_weights else (KEY,)
  says = f'^{objective.__name__} reads terms.log_ratio, which is None; give log q'
  with pytest.raises(UserError, match=says):
    objective(_terms(theta)._replace(log_ratio=None), *args)


def test_iwae_without_a_baseline_is_refused(theta):
  with pytest.raises(UserError, match='^iwae reads terms.baseline, which is None; give the pred'):
    multi_sample.iwae(_terms(theta)._replace(baseline=None), KEY)


@pytest.mark.parametrize('objective', (multi_sample.vimco, multi_sample.vimco_arithmetic))
def test_leave_one_out_needs_another_particle(theta, objective):
  alone = jax.tree.map(lambda x: x[:1], _terms(theta))
  says = rf'^{objective.__name__} needs K >= 2 roll-outs; nll has shape \(1, 3\)$'
  with pytest.raises(UserError, match=says):
    objective(alone, KEY)
