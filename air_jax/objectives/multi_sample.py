"""Losses of K roll-outs of an image, its particles: tighter bounds (Burda et al., ICLR 2016).

A particle's weight is w_i = p(x, z_i, n_i) / q(z_i, n_i | x), and

    log p(x) >= E log (1 / K) sum_i w_i,

the tighter the more particles. Like those of objectives.py these are pure functions of the terms,
which have a leading [K] here; smoothing is explained there.

Where counts are drawn, the gradient is that of the score function: unbiased for the smoothed bound.
All use the sampled log-ratio of the continuous latents, `terms.log_ratio`; `kl_z` is not read, for
its mean over a particle would be no bound.
"""

import jax
import jax.numpy as jnp

from air_jax.objectives import count

_sg = jax.lax.stop_gradient


def log_mean_exp(log_w):
  """The logarithm of the mean of exp(log_w) over its first axis."""
  return jax.nn.logsumexp(log_w, axis=0) - jnp.log(len(log_w))


def log_weights(terms):
  """The particles' log-weights with the count summed out, [K]: no q(n) is in them.

      log W_i = log sum_k exp(log p[k] - nll_i[k] - log_ratio_i[k])

  Args:
    terms: `ElboTerms`, fields [K, T + 1].

  Returns:
    [K] nats; their log-mean-exp is a bound of log p(x) in expectation.
  """
  return jax.nn.logsumexp(terms.log_p - terms.nll - terms.log_ratio, axis=-1)


def iwae(terms, key, smoothing=0.0):
  """The bound itself, with NVIL's baseline (Mnih & Gregor, 2014) against its variance.

      n_i ~ q_e,      B = log (1 / K) sum_i w_i
      L = -B + sum_i sg(signal(-B, b_i)) log q_e,i[n_i] + (what teaches b, a mean over i)

  b_i guesses -B from x and the latents of particle i, which are drawn before n_i; see
  `count.score_signal`.

  Args:
    terms: `ElboTerms`, fields [K, T + 1], with a learnt baseline.
    key: consumed, draws the counts.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e.

  Returns:
    [] surrogate loss; nats.
  """
  log_w, log_q = _drawn(terms, key, smoothing)
  bound = log_mean_exp(log_w)
  score = jax.vmap(lambda b: count.score_signal(-bound, b.guess[0], b))
  signal, lesson = score(terms.baseline)
  return -bound + signal @ log_q + jnp.mean(lesson)


def vimco(terms, key, smoothing=0.0):
  """Every particle's signal is what the others do not explain (Mnih & Rezende, arXiv:1602.06725).

      B_-i = log (1 / K) (sum_{j != i} w_j + v_i),      v_i the geometric mean of w_j, j != i
      L = -B - sum_i sg(B - B_-i) log q_e,i[n_i]

  Args:
    terms: `ElboTerms`, fields [K, T + 1], K >= 2.
    key: consumed, draws the counts.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e.

  Returns:
    [] surrogate loss; nats.
  """
  return _vimco(terms, key, smoothing, jnp.mean)  # the mean of logarithms


def vimco_arithmetic(terms, key, smoothing=0.0):
  """`vimco` with v_i the arithmetic mean of w_j, j != i: B_-i is then the bound of the others."""
  return _vimco(terms, key, smoothing, log_mean_exp)


def collapsed_iwae(terms, key, smoothing=0.0):
  """The bound with the count summed out of each weight: nothing discrete is drawn.

      L = -log (1 / K) sum_i W_i - sum_i sg(W_i / sum_j W_j) sum_k sg(r_i[k]) log q_i[k]

  W_i is that of `log_weights`, r_i the exact posterior of the count given particle i, which the
  presence head imitates. With smoothing, log W_i is the smaller sum_k r_e[k] (-G[k] - log r_e[k]),
  as in `objectives.collapsed`; K = 1 is that loss, with the sampled log-ratio for the KL.

  Args:
    terms: `ElboTerms`, fields [K, T + 1].
    key: not used; every loss takes one.
    smoothing: [] e in [0, 1], share of the uniform distribution in r_e.

  Returns:
    [] loss in nats: negative bound plus cross-entropy.
  """
  del key
  log_r = _log_posterior(terms)
  log_r_e = jax.vmap(count.smooth, (0, None))(_sg(log_r), smoothing)
  log_w = -jax.vmap(count.expected_cost)(log_r_e, _with_sampled_ratio(terms))
  imitation = -jnp.sum(_sg(jnp.exp(log_r)) * terms.log_q, axis=-1)
  return _sg(jax.nn.softmax(log_weights(terms))) @ imitation - log_mean_exp(log_w)


def shares(terms, smoothing=0.0):
  """How much every latent's log q weighs in `collapsed_iwae`, for `doubly`.

      c_i[t] = w_i r_e,i(n >= t),      w = softmax_i(log W_i)

  Args:
    terms: `ElboTerms`, fields [K, T + 1].
    smoothing: [] e in [0, 1], share of the uniform distribution in r_e.

  Returns:
    [K, T + 1], for the background (t = 0) and each object; differentiable in the particle's own
    terms, while the weights of the others are taken as given.
  """
  log_r_e = jax.vmap(count.smooth, (0, None))(_log_posterior(terms), smoothing)
  log_w = -jax.vmap(count.expected_cost)(log_r_e, _with_sampled_ratio(terms))
  own = _sg(jax.nn.softmax(log_w))
  own = own + _sg(own * (1.0 - own)) * (log_w - _sg(log_w))
  return own[:, None] * jnp.exp(jax.lax.cumlogsumexp(log_r_e, axis=1, reverse=True))


def rws(terms, key, smoothing=0.0):
  """Reweighted wake-sleep (Bornschein & Bengio, 2015, arXiv:1406.2751), its two wake phases.

      n_i ~ q_e,      v_i = sg(w_i / sum_j w_j)
      L = sum_i v_i (nll_i[n_i] - log_ratio_i[n_i] - log q_i[n_i])

  The decoder descends in the first summand: the gradient of the bound of K particles. The rest of
  the model ascends in log q of the particles as they lie: no gradient goes through a sample, and no
  score of a cost is needed. That it does not follow the bound is by design: it comes near the
  posterior from the other side, KL(p || q); both are biased for finite K.

  Args:
    terms: `ElboTerms`, fields [K, T + 1], K >= 2, of roll-outs whose latents are stopped (`sample`
      of `model.rollout`).
    key: consumed, draws the counts.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e. What the presence head
      learns to imitate stays the weighted posterior.

  Returns:
    [] surrogate loss.
  """
  log_q_e = jax.vmap(count.smooth, (0, None))(terms.log_q, smoothing)
  n = jax.random.categorical(key, _sg(log_q_e))
  log_w = terms.log_p - terms.nll - terms.log_ratio - log_q_e
  per_count = terms.nll - terms.log_ratio - terms.log_q
  log_w, lesson = (jnp.take_along_axis(x, n[:, None], 1)[:, 0] for x in (log_w, per_count))
  return _sg(jax.nn.softmax(log_w)) @ lesson


def _log_posterior(terms):
  """Log r [K, T + 1], of the count given each particle."""
  return jax.nn.log_softmax(terms.log_p - terms.nll - terms.log_ratio, axis=-1)


def _with_sampled_ratio(terms):
  return terms._replace(kl_z=terms.log_ratio)


def _drawn(terms, key, smoothing):
  """For n_i ~ q_e,i the log-weights log w_i and log q_e,i[n_i], both [K]."""
  cost, log_q = jax.vmap(count.sampled_cost, (0, 0, None))(
    _with_sampled_ratio(terms), jax.random.split(key, len(terms.nll)), smoothing
  )
  return -cost, log_q


def _vimco(terms, key, smoothing, mean):
  log_w, log_q = _drawn(terms, key, smoothing)
  bound = log_mean_exp(log_w)

  def without(i):
    others = jnp.delete(log_w, i, assume_unique_indices=True)
    return log_mean_exp(jnp.append(others, mean(others)))

  leave_one_out = jnp.stack([without(i) for i in range(len(log_w))])
  return -bound - _sg(bound - leave_one_out) @ log_q
