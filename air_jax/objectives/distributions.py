"""Gaussians and the distribution of the count: log-probabilities, KLs, samples; in nats."""

import math

import jax
import jax.numpy as jnp


def normal_log_prob(x, normal):
  """Log-density of a diagonal Gaussian, elementwise.

      log N(x; m, s) = -(x - m)^2 / 2 s^2 - log s - log(2 pi) / 2

  Args:
    x: [...] values.
    normal: `Normal` whose fields broadcast against x.

  Returns:
    [...] nats, not summed.
  """
  z = (x - normal.mean) / normal.std
  return -0.5 * z**2 - jnp.log(normal.std) - 0.5 * math.log(2.0 * math.pi)


def normal_kl(q, p):
  """KL(q || p) of two diagonal Gaussians, elementwise.

      log(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / 2 s_p^2 - 1/2

  Args:
    q: `Normal`.
    p: `Normal` whose fields broadcast against q's.

  Returns:
    [...] nats, not summed, never negative.
  """
  ratio = q.std / p.std
  return 0.5 * (ratio**2 + ((q.mean - p.mean) / p.std) ** 2 - 1.0) - jnp.log(ratio)


def count_log_probs(logits):
  """Log-probabilities of the count under the modified geometric distribution.

  Step t goes on with probability s(l_t), s the sigmoid; the count is how often it did:
      log q(n = k) = sum_{t<=k} log s(l_t) + [k < T] log s(-l_{k+1})
  (Eslami et al., 2016, code n in unary, 1^n 0^(T-n).)

  Args:
    logits: [T] l_t, log-odds that step t finds one more object.

  Returns:
    [T + 1] log q(n = k) for k = 0..T; their exponentials sum to 1.
  """
  go_on = jnp.cumsum(jax.nn.log_sigmoid(logits))
  return _prepend_zero(go_on) + jnp.append(jax.nn.log_sigmoid(-logits), 0.0)


def geometric_log_probs(success, max_count):
  """Log-probabilities of the geometric distribution cut off at `max_count`.

      log p(n = k) = k log r - log sum_{j<=T} r^j

  Args:
    success: [] r > 0, how much likelier each further object is; 1 is the uniform distribution.
    max_count: T.

  Returns:
    [T + 1] log p(n = k) for k = 0..T.
  """
  return jax.nn.log_softmax(jnp.arange(max_count + 1) * jnp.log(success))


def count_kl(log_q, log_p):
  """KL(q || p) = sum_k q(k) (log q(k) - log p(k)) of two counts.

  Args:
    log_q: [T + 1] normalised log-probabilities.
    log_p: [T + 1] normalised log-probabilities.

  Returns:
    [] nats.
  """
  return jnp.sum(jnp.exp(log_q) * (log_q - log_p))


def count_entropy(log_q):
  """Entropy of a count, -sum_k q(k) log q(k), in nats. log_q: [T + 1]; returns []."""
  return -jnp.sum(jnp.exp(log_q) * log_q)


def count_mean(log_q):
  """Expected count, sum_k k q(k). log_q: [T + 1]; returns []."""
  return jnp.exp(log_q) @ jnp.arange(log_q.shape[0])


def count_mode(log_q):
  """Most probable count. log_q: [T + 1]; returns [] int32."""
  return jnp.argmax(log_q).astype(jnp.int32)


def count_sample(key, log_q):
  """Draws a count. The key is consumed; log_q: [T + 1]; returns [] int32."""
  return jax.random.categorical(key, log_q).astype(jnp.int32)


def presence_probs(log_q):
  """Probability that at least t objects are there, P(n >= t). log_q: [T + 1]; returns [T]."""
  return jnp.cumsum(jnp.exp(log_q)[::-1])[::-1][1:]


def _prepend_zero(x):
  return jnp.concatenate([jnp.zeros_like(x[:1]), x])
