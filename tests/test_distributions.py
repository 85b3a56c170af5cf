"""Log-probabilities, divergences and samples against SciPy, integration and enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jax.test_util import check_grads

from air_jax.objectives import distributions
from air_jax.types import Normal

LOGITS = np.array([1.3, -0.4, 0.7])
PROBS = np.array([0.1, 0.2, 0.45, 0.25])


def test_normal_log_prob_is_that_of_scipy():
  x, mean, std = np.array([0.3, -2.0, 5.0]), np.array([0.0, 1.0, 4.5]), np.array([1.0, 0.3, 2.0])
  ours = distributions.normal_log_prob(x, Normal(mean, std))
  np.testing.assert_allclose(ours, scipy.stats.norm.logpdf(x, mean, std), rtol=1e-6)


def test_normal_kl_is_the_integral_it_stands_for():
  q, p = Normal(np.array([0.3, -1.0]), np.array([0.5, 2.0])), Normal(np.array([1.0, 0.0]), 0.8)
  x = np.linspace(-20, 20, 100_001)[:, None]
  density = scipy.stats.norm.pdf(x, *q)
  log_ratio = scipy.stats.norm.logpdf(x, *q) - scipy.stats.norm.logpdf(x, *p)
  integral = np.trapezoid(density * log_ratio, x, axis=0)
  np.testing.assert_allclose(distributions.normal_kl(q, p), integral, rtol=1e-5)
  np.testing.assert_array_equal(distributions.normal_kl(q, q), 0.0)


def test_count_log_probs_is_the_enumeration_of_all_presence_sequences():
  go_on = 1 / (1 + np.exp(-LOGITS))
  probs = np.zeros(4)
  for z in itertools.product((0, 1), repeat=3):
    count = (*z, 0).index(0)
    probs[count] += np.where(z, go_on, 1 - go_on).prod()
  np.testing.assert_allclose(distributions.count_log_probs(LOGITS), np.log(probs), rtol=1e-5)


def test_count_log_probs_stays_finite_for_certain_decisions():
  log_q = distributions.count_log_probs(jnp.array([200.0, -200.0, 200.0]))
  np.testing.assert_allclose(log_q, [-200, 0, -400, -200], atol=1e-6)


def test_geometric_log_probs_is_the_normalised_power_of_success():
  for success in (0.3, 1.0, 2.5):
    powers = success ** np.arange(6)
    ours = distributions.geometric_log_probs(success, 5)
    np.testing.assert_allclose(ours, np.log(powers / powers.sum()), rtol=1e-5)


def test_geometric_log_probs_is_finite_for_a_tiny_success():
  ours = distributions.geometric_log_probs(jnp.float32(1e-10), 5)
  np.testing.assert_allclose(ours, np.arange(6) * np.log(1e-10), rtol=1e-5, atol=1e-9)


def test_summaries_of_a_count_are_their_definitions():
  log_q, log_p = np.log(PROBS), np.log([0.4, 0.3, 0.2, 0.1])
  kl, entropy = scipy.stats.entropy(PROBS, np.exp(log_p)), scipy.stats.entropy(PROBS)
  np.testing.assert_allclose(distributions.count_kl(log_q, log_p), kl, rtol=1e-6)
  np.testing.assert_allclose(distributions.count_entropy(log_q), entropy, rtol=1e-6)
  np.testing.assert_allclose(distributions.count_mean(log_q), 0.2 + 0.9 + 0.75, rtol=1e-6)
  assert distributions.count_mode(log_q) == 2
  np.testing.assert_allclose(distributions.presence_probs(log_q), [0.9, 0.7, 0.25], rtol=1e-6)


def test_count_samples_are_as_frequent_as_they_should_be():
  keys = jax.random.split(jax.random.key(0), 200_000)
  counts = jax.vmap(distributions.count_sample, (0, None))(keys, jnp.log(PROBS))
  assert counts.dtype == jnp.int32
  assert scipy.stats.chisquare(np.bincount(counts, minlength=4), 200_000 * PROBS).pvalue > 1e-3


def test_gradients_are_those_of_finite_differences():
  with jax.enable_x64(True):
    q, p = Normal(*np.array([[0.3, -1.0], [0.5, 2.0]])), Normal(*np.array([[1.0, 0.0], [0.8, 1.5]]))
    log_q, log_p = np.log(PROBS), np.log([0.4, 0.3, 0.2, 0.1])
    for function, arguments in (
      (distributions.normal_log_prob, (np.array([0.7, 0.1]), q)),
      (distributions.normal_kl, (q, p)),
      (distributions.count_log_probs, (LOGITS,)),
      (lambda success: distributions.geometric_log_probs(success, 3), (0.2,)),
      (distributions.count_kl, (log_q, log_p)),
      (distributions.count_entropy, (log_q,)),
      (distributions.count_mean, (log_q,)),
      (distributions.presence_probs, (log_q,)),
    ):
      check_grads(function, arguments, order=1, modes=['rev'])
