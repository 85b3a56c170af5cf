"""The cost of each count, and the bound that is made of it; in nats.

One roll-out gives the cost of every count k:

    F[k] = nll[k] + kl_z[k] + log q[k] - log p[k],

and the negative ELBO is sum_k q[k] F[k].

Smoothing. Early in training the posterior w of the count is mixed with the uniform distribution,
w_e = (1 - e) w + e / (T + 1). The result is still a bound, with w_e as the posterior. Every
inference step then keeps learning to attend and to decode, whatever the presence head predicts, so
training does not lock in at no objects or at T objects.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike

from air_jax.objectives import checks
from air_jax.types import ElboTerms


def elbo(terms: ElboTerms) -> Float[Array, '']:
  """The evidence lower bound with the count summed out, -sum_k q[k] F[k]."""
  checks.one_rollout('elbo', terms)
  return -expected_cost(terms.log_q, terms)


def summary(terms: ElboTerms) -> dict[str, Float[Array, '']]:
  """The bound of one image and its two parts, for the logs.

      nll = sum_k q[k] nll[k],      kl = sum_k q[k] (kl_z[k] + log q[k] - log p[k])
      elbo = -nll - kl

  Keys are `elbo`, `nll` and `kl`.
  """
  bound = elbo(terms)
  nll = jnp.exp(terms.log_q) @ terms.nll
  return {'elbo': bound, 'nll': nll, 'kl': -bound - nll}


def smooth(log_w: Float[Array, '*K T+1'], smoothing: ScalarLike) -> Float[Array, '*K T+1']:
  """Log of (1 - e) w + e / (T + 1), with e = `smoothing` in [0, 1]; w is normalised."""
  uniform = jnp.log(smoothing) - jnp.log(log_w.shape[-1])
  return jnp.logaddexp(jnp.log1p(jnp.negative(smoothing)) + log_w, uniform)


def expected_cost(log_w: Float[Array, ' T+1'], terms: ElboTerms) -> Float[Array, '']:
  """The negative bound with w as the posterior of the count.

      sum_k w[k] (nll[k] + kl_z[k] - log p[k] + log w[k])

  w is normalised.
  """
  checks.one_rollout('expected_cost', terms)
  return jnp.sum(jnp.exp(log_w) * (terms.nll + terms.kl_z - terms.log_p + log_w))


def costs(
  terms: ElboTerms, smoothing: ScalarLike
) -> tuple[Float[Array, ' T+1'], Float[Array, ' T+1']]:
  """The smoothed log-posterior log q_e[k] of each count, and its cost F[k] under it."""
  checks.one_rollout('costs', terms)
  log_q = smooth(terms.log_q, smoothing)
  return log_q, terms.nll + terms.kl_z - terms.log_p + log_q


def sampled_cost(
  terms: ElboTerms, key: PRNGKeyArray, smoothing: ScalarLike
) -> tuple[Float[Array, ''], Float[Array, '']]:
  """The cost F[n] of a sampled count n ~ q_e, and log q_e[n]. The key is consumed."""
  log_q, cost = costs(terms, smoothing)
  n = jax.random.categorical(key, jax.lax.stop_gradient(log_q))
  return cost[n], log_q[n]
