"""Losses of K roll-outs of an image (particles): tighter bounds (Burda et al., ICLR 2016).

The weight of a particle is w_i = p(x, z_i, n_i) / q(z_i, n_i | x), and

    log p(x) >= E log (1 / K) sum_i w_i,

which is tighter for more particles. Arguments are those of count.py; terms have a leading [K].

Where counts are sampled, the gradient is that of the score function: unbiased for the smoothed
bound. All losses use the sampled log-ratio of the continuous latents, `terms.log_ratio`. They do
not read `kl_z`: with its analytic mean the weights would give no bound.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike

from air_jax.objectives import checks
from air_jax.objectives.baseline import NO_AVERAGES, SignalAverages, learning_signal
from air_jax.objectives.terms import expected_cost, sampled_cost, smooth
from air_jax.types import ElboTerms

_sg = jax.lax.stop_gradient


def log_mean_exp(log_w: Float[Array, 'K ...']) -> Float[Array, '...']:
  """The logarithm of the mean of exp(log_w) over the first axis."""
  return jax.nn.logsumexp(log_w, axis=0) - jnp.log(len(log_w))


def log_weights(terms: ElboTerms) -> Float[Array, ' K']:
  """The log-weights of particles with the count summed out, in nats: q(n) is not in them.

      log W_i = log sum_k exp(log p[k] - nll_i[k] - log_ratio_i[k])

  In expectation, their log-mean-exp is a lower bound of log p(x).
  """
  log_ratio = checks.require('log_weights', terms, 'log_ratio')
  return jax.nn.logsumexp(terms.log_p - terms.nll - log_ratio, axis=-1)


def iwae(
  terms: ElboTerms,
  key: PRNGKeyArray,
  smoothing: ScalarLike = 0.0,
  state: SignalAverages = NO_AVERAGES,
) -> tuple[Float[Array, ''], SignalAverages]:
  """The bound itself, with NVIL's baseline (Mnih & Gregor, 2014) to lower its variance.

      n_i ~ q_e,      B = log (1 / K) sum_i w_i
      L = -B + sum_i signal(-B, b_i) log q_e,i[n_i] + (1 / K) sum_i baseline_loss(-B, b_i)

  b_i = terms.baseline[i, 0] predicts -B from x and the latents of particle i, which are sampled
  before n_i. See `learning_signal`. The new state is the mean over particles.
  """
  terms = checks.several_rollouts('iwae', terms)
  baseline = checks.require('iwae', terms, 'baseline')
  log_w, log_q = _sample_counts(terms, key, smoothing)
  bound = log_mean_exp(log_w)
  learning = jax.vmap(learning_signal, (None, 0, None))(-bound, baseline[:, 0], state)
  loss = -bound + learning.signal @ log_q + jnp.mean(learning.baseline_loss)
  return loss, jax.tree.map(jnp.mean, learning.averages)


def vimco(terms: ElboTerms, key: PRNGKeyArray, smoothing: ScalarLike = 0.0) -> Float[Array, '']:
  """The other particles are the baseline of each (Mnih & Rezende, arXiv:1602.06725).

      B_-i = log (1 / K) (sum_{j != i} w_j + v_i),      v_i the geometric mean of w_j, j != i
      L = -B - sum_i sg(B - B_-i) log q_e,i[n_i]

  K >= 2.
  """
  terms = checks.several_rollouts('vimco', terms, fewest=2)
  return _vimco(terms, key, smoothing, jnp.mean)  # the mean of logarithms


def vimco_arithmetic(
  terms: ElboTerms, key: PRNGKeyArray, smoothing: ScalarLike = 0.0
) -> Float[Array, '']:
  """`vimco` with v_i the arithmetic mean of w_j, j != i: B_-i is then the bound of the others."""
  terms = checks.several_rollouts('vimco_arithmetic', terms, fewest=2)
  return _vimco(terms, key, smoothing, log_mean_exp)


def collapsed_iwae(
  terms: ElboTerms, key: PRNGKeyArray | None, smoothing: ScalarLike = 0.0
) -> Float[Array, '']:
  """The bound with the count summed out of each weight: nothing discrete is sampled.

      L = -log (1 / K) sum_i W_i - sum_i sg(W_i / sum_j W_j) sum_k sg(r_i[k]) log q_i[k]

  W_i is that of `log_weights`, and r_i the exact posterior of the count given particle i, which the
  presence head imitates. With smoothing, log W_i is the smaller sum_k r_e[k] (-G[k] - log r_e[k]),
  as in `collapsed`; with K = 1 it is that loss, with the sampled log-ratio in place of the KL.
  """
  del key
  terms = checks.several_rollouts('collapsed_iwae', terms)
  log_r = _log_count_posterior(terms)
  log_w = -jax.vmap(expected_cost)(smooth(_sg(log_r), smoothing), terms)
  imitation = -jnp.sum(_sg(jnp.exp(log_r)) * terms.log_q, axis=-1)
  return _sg(jax.nn.softmax(log_weights(terms))) @ imitation - log_mean_exp(log_w)


def latent_weights(terms: ElboTerms, smoothing: ScalarLike = 0.0) -> Float[Array, 'K T+1']:
  """The weight of each latent's log q in the gradient of `collapsed_iwae`.

      c_i[t] = w_i r_e,i(n >= t),      w = softmax_i(log W_i)

  Column t = 0 is the background, the others are the objects. Doubly reparameterised gradients need
  d c_i / d z_i; c_i is therefore differentiable in the terms of particle i only. Weights are in
  [0, 1]; those of the background add up to 1.
  """
  terms = checks.several_rollouts('latent_weights', terms)
  log_r_e = smooth(_log_count_posterior(terms), smoothing)
  log_w = -jax.vmap(expected_cost)(log_r_e, terms)
  tails = jnp.exp(jax.lax.cumlogsumexp(log_r_e, axis=1, reverse=True))
  return _diagonal_softmax(log_w)[:, None] * tails


def rws(terms: ElboTerms, key: PRNGKeyArray, smoothing: ScalarLike = 0.0) -> Float[Array, '']:
  """Reweighted wake-sleep (Bornschein & Bengio, 2015, arXiv:1406.2751), its two wake phases.

      n_i ~ q_e,      v_i = sg(w_i / sum_j w_j)
      L = sum_i v_i (nll_i[n_i] - log_ratio_i[n_i] - log q_i[n_i])

  The decoder follows the gradient of the bound of K particles (nll). The rest of the model raises
  log q of the particles: no gradient passes through a sample, and no cost weights a score. This
  does not follow the bound: it lowers KL(p || q), not KL(q || p). Both phases are biased for
  finite K. Latents in the terms must pass no gradient. With smoothing, the presence head still
  learns to imitate the weighted posterior itself.
  """
  terms = checks.several_rollouts('rws', terms)
  log_q_e = smooth(terms.log_q, smoothing)
  n = jax.random.categorical(key, _sg(log_q_e))
  log_w = terms.log_p - terms.nll - terms.kl_z - log_q_e
  wake = terms.nll - terms.kl_z - terms.log_q
  log_w, wake = (jnp.take_along_axis(x, n[:, None], 1)[:, 0] for x in (log_w, wake))
  return _sg(jax.nn.softmax(log_w)) @ wake


# Below, terms come from `checks.several_rollouts`: `kl_z` holds the sampled log-ratio.


def _log_count_posterior(terms: ElboTerms) -> Float[Array, 'K T+1']:
  """Log r: the exact posterior of the count given each particle."""
  return jax.nn.log_softmax(terms.log_p - terms.nll - terms.kl_z, axis=-1)


def _sample_counts(
  terms: ElboTerms, key: PRNGKeyArray, smoothing: ScalarLike
) -> tuple[Float[Array, ' K'], Float[Array, ' K']]:
  """For n_i ~ q_e,i the log-weights log w_i, and log q_e,i[n_i]."""
  keys = jax.random.split(key, len(terms.nll))
  cost, log_q = jax.vmap(sampled_cost, (0, 0, None))(terms, keys, smoothing)
  return -cost, log_q


def _vimco(
  terms: ElboTerms,
  key: PRNGKeyArray,
  smoothing: ScalarLike,
  mean: Callable[[Float[Array, ' M']], Float[Array, '']],
) -> Float[Array, '']:
  log_w, log_q = _sample_counts(terms, key, smoothing)
  bound = log_mean_exp(log_w)

  def without(i: int) -> Float[Array, '']:
    others = jnp.delete(log_w, i, assume_unique_indices=True)
    return log_mean_exp(jnp.append(others, mean(others)))

  leave_one_out = jnp.stack([without(i) for i in range(len(log_w))])
  return -bound - _sg(bound - leave_one_out) @ log_q


@jax.custom_jvp
def _diagonal_softmax(log_w: Float[Array, ' K']) -> Float[Array, ' K']:
  """Softmax, of whose Jacobian only the diagonal is kept: d w_i / d log w_i = w_i (1 - w_i).

  Callers sum over particles and differentiate in the latents of each. With the full Jacobian, the
  weights of the other particles would add their own derivatives to the sum.
  """
  return jax.nn.softmax(log_w)


@_diagonal_softmax.defjvp
def _diagonal_softmax_jvp(primals, tangents):
  weights = jax.nn.softmax(primals[0])
  return weights, weights * (1.0 - weights) * tangents[0]
