"""Gaussians and the distribution of the count: log-probabilities, KLs, samples; in nats."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, ScalarLike

from air_jax.types import Normal


def normal_log_prob(x: Float[Array, '...'], normal: Normal) -> Float[Array, '...']:
  """Log-density of a diagonal Gaussian.

      log N(x; m, s) = -(x - m)^2 / 2 s^2 - log s - log(2 pi) / 2

  Elementwise, not summed.
  """
  z = (x - normal.mean) / normal.std
  return -0.5 * z**2 - jnp.log(normal.std) - 0.5 * math.log(2.0 * math.pi)


def normal_kl(q: Normal, p: Normal) -> Float[Array, '...']:
  """KL(q || p) of two diagonal Gaussians.

      log(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / 2 s_p^2 - 1/2

  Elementwise, not summed; never negative.
  """
  ratio = q.std / p.std
  return 0.5 * (ratio**2 + ((q.mean - p.mean) / p.std) ** 2 - 1.0) - jnp.log(ratio)


def count_log_probs(logits: Float[Array, ' T']) -> Float[Array, ' T+1']:
  """Log-probabilities of the count k = 0..T under the modified geometric distribution.

  AIR codes the count n in unary, 1^n 0^(T-n) (Eslami et al., 2016). Step t continues with
  probability s(l_t), s the sigmoid of the logits:
      log q(n = k) = sum_{t<=k} log s(l_t) + [k < T] log s(-l_{k+1})

  Args:
    logits: l_t, log-odds that step t finds one more object.

  Returns:
    log q(n = k), normalised.
  """
  go_on = jnp.cumsum(jax.nn.log_sigmoid(logits))
  go_on = jnp.concatenate([jnp.zeros_like(go_on[:1]), go_on])
  return go_on + jnp.append(jax.nn.log_sigmoid(-logits), 0.0)


def geometric_log_probs(success: ScalarLike, max_count: int) -> Float[Array, ' T+1']:
  """Log-probabilities of the geometric distribution truncated at T = `max_count`.

      log p(n = k) = k log r - log sum_{j<=T} r^j

  Args:
    success: r > 0, how much more probable each further object is; 1 is the uniform distribution.
    max_count: T.

  Returns:
    log p(n = k), normalised.
  """
  return jax.nn.log_softmax(jnp.arange(max_count + 1) * jnp.log(success))


def count_kl(log_q: Float[Array, ' T+1'], log_p: Float[Array, ' T+1']) -> Float[Array, '']:
  """KL(q || p) of two distributions of the count, sum_k q(k) (log q(k) - log p(k)), in nats."""
  return jnp.sum(jnp.exp(log_q) * (log_q - log_p))


def count_entropy(log_q: Float[Array, ' T+1']) -> Float[Array, '']:
  """Entropy of the count, -sum_k q(k) log q(k), in nats."""
  return -jnp.sum(jnp.exp(log_q) * log_q)


def count_mean(log_q: Float[Array, ' T+1']) -> Float[Array, '']:
  """Expected count, sum_k k q(k)."""
  return jnp.exp(log_q) @ jnp.arange(log_q.shape[0])


def count_mode(log_q: Float[Array, ' T+1']) -> Int[Array, '']:
  """Most probable count."""
  return jnp.argmax(log_q).astype(jnp.int32)


def count_sample(key: PRNGKeyArray, log_q: Float[Array, ' T+1']) -> Int[Array, '']:
  """Samples a count. The key is consumed."""
  return jax.random.categorical(key, log_q).astype(jnp.int32)


def presence_probs(log_q: Float[Array, ' T+1']) -> Float[Array, ' T']:
  """Probability of at least t objects, P(n >= t), for t = 1..T."""
  return jnp.cumsum(jnp.exp(log_q)[::-1])[::-1][1:]
