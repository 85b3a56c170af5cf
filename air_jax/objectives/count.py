"""Losses that sum out the count, or sample it as a whole.

The count n is discrete: each loss here is a way to differentiate through it. All losses have one
signature, so that a program can select one by name, and are unbatched: `jax.vmap` them over images.

    (terms, key, smoothing) -> loss in nats
    (terms, key, smoothing, state) -> (loss, new state)     with state, such as moving averages

* terms: of one roll-out, fields [T + 1]; for the losses of multi_sample.py of K, fields [K, T + 1].
  A loss raises `UserError` where a field that it reads is absent or has another shape.
* key: consumed by losses that sample, ignored by the others.
* smoothing: e in [0, 1], weight of the uniform distribution in the posterior q_e of the count; see
  terms.py, which explains the cost F too. sg is `jax.lax.stop_gradient`.
* Where a loss weights log q by a cost it is a surrogate: its gradient is meant, not its value.

To train on a strictly sampled bound, or with a warm-up of the KL, change the terms beforehand:
`terms._replace(kl_z=terms.log_ratio)`, `terms._replace(kl_z=weight * terms.kl_z)`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike

from air_jax.objectives import checks
from air_jax.objectives.baseline import NO_AVERAGES, SignalAverages, learning_signal
from air_jax.objectives.terms import expected_cost, sampled_cost, smooth
from air_jax.types import ElboTerms

_sg = jax.lax.stop_gradient


def exact(
  terms: ElboTerms, key: PRNGKeyArray | None, smoothing: ScalarLike = 0.0
) -> Float[Array, '']:
  """The negative ELBO by enumeration of the count.

      L = sum_k q_e[k] (nll[k] + kl_z[k] - log p[k] + log q_e[k])

  No score function is needed.
  """
  del key
  checks.one_rollout('exact', terms)
  return expected_cost(smooth(terms.log_q, smoothing), terms)


def collapsed(
  terms: ElboTerms, key: PRNGKeyArray | None, smoothing: ScalarLike = 0.0
) -> Float[Array, '']:
  """The bound with the count summed out of the importance weight.

      G[k] = nll[k] + kl_z[k] - log p[k],      r = softmax(-G)
      L = -log sum_k exp(-G[k]) - sum_k sg(r[k]) log q[k]

  r is the exact posterior of the count given the roll-out. The first term is the negative bound
  under r; the second only teaches the presence head to imitate r. With smoothing, the first term
  is the negative bound under r_e: sum_k sg(r_e[k]) (G[k] + log r_e[k]). With the analytic KL in
  kl_z it has low variance; with log_ratio in its place it is an importance-weighted bound (K = 1).
  """
  del key
  checks.one_rollout('collapsed', terms)
  log_r = _sg(jax.nn.log_softmax(terms.log_p - terms.nll - terms.kl_z))
  imitation = -jnp.sum(jnp.exp(log_r) * terms.log_q)
  return expected_cost(smooth(log_r, smoothing), terms) + imitation


def reinforce(terms: ElboTerms, key: PRNGKeyArray, smoothing: ScalarLike = 0.0) -> Float[Array, '']:
  """The plain score-function estimator (Williams, 1992), of very high variance.

      n ~ q_e,      L = F[n] + sg(F[n]) log q_e[n]

  The expectation of its gradient is the gradient of `exact`.
  """
  checks.one_rollout('reinforce', terms)
  cost, log_q = sampled_cost(terms, key, smoothing)
  return cost + _sg(cost) * log_q


def nvil(
  terms: ElboTerms,
  key: PRNGKeyArray,
  smoothing: ScalarLike = 0.0,
  state: SignalAverages = NO_AVERAGES,
) -> tuple[Float[Array, ''], SignalAverages]:
  """The score function with a learned baseline (Mnih & Gregor, 2014, arXiv:1402.0030).

      n ~ q_e,      L = F[n] + signal(F[n], b) log q_e[n] + baseline_loss(F[n], b)

  b = terms.baseline[0] may depend on the image and on all latents of the roll-out: n is sampled
  after them, so the gradient stays unbiased for `exact`. See `learning_signal`.
  """
  checks.one_rollout('nvil', terms)
  baseline = checks.require('nvil', terms, 'baseline')
  cost, log_q = sampled_cost(terms, key, smoothing)
  learning = learning_signal(cost, baseline[0], state)
  return cost + learning.signal * log_q + learning.baseline_loss, learning.averages
