"""Losses that train AIR: pure functions of the terms of one roll-out, in nats.

The count n is discrete, and everything here is an answer to one question: how to differentiate
through it. One roll-out gives the cost of every count k (design: presence masking),

    F[k] = nll[k] + kl_z[k] + log q[k] - log p[k],

and the negative ELBO is sum_k q[k] F[k]. All losses share one signature, so that a program picks
one by name; each is unbatched, so `jax.vmap` it over images. Nothing here knows a network or a data
set: the module imports JAX alone.

Smoothing. Early in training the posterior w of the count (q itself, or the exact one for
`collapsed`) is mixed with the uniform distribution, w_e = (1 - e) w + e / (T + 1). The bound stays
a bound, with w_e for the posterior; but every step goes on learning to attend and to paint,
whatever the presence head believes, so that neither collapse (no objects, or always T) locks in.

To train on a strict sampled bound, or with a warm-up of the KL, change the terms beforehand:
`terms._replace(kl_z=terms.log_ratio)`, `terms._replace(kl_z=weight * terms.kl_z)`.
"""

import jax
import jax.numpy as jnp

_sg = jax.lax.stop_gradient


def elbo(terms):
  """The evidence lower bound with the count summed out: -sum_k q[k] F[k].

  Args:
    terms: `ElboTerms`, fields [T + 1].

  Returns:
    [] nats.
  """
  return -expected_cost(terms.log_q, terms)


def exact(terms, key, smoothing=0.0):
  """The negative ELBO by enumeration: the count is summed out, no score function is needed.

      L = sum_k q_e[k] (nll[k] + kl_z[k] - log p[k] + log q_e[k])

  Args:
    terms: `ElboTerms`, fields [T + 1].
    key: not used; every loss takes one.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e.

  Returns:
    [] loss in nats; with smoothing 0 the negative ELBO.
  """
  del key
  return expected_cost(smooth(terms.log_q, smoothing), terms)


def collapsed(terms, key, smoothing=0.0):
  """The bound that sums the count out of the importance weight itself.

      G[k] = nll[k] + kl_z[k] - log p[k],      r = softmax(-G)
      L = -log sum_k exp(-G[k]) - sum_k sg(r[k]) log q[k]

  r is the exact posterior of the count given the roll-out; the first term is the bound under r, and
  the second only teaches the presence head to imitate r. With smoothing, the first term is the
  bound under r_e instead: sum_k sg(r_e[k]) (G[k] + log r_e[k]).

  Args:
    terms: `ElboTerms`, fields [T + 1]. With kl_z the analytic KL the first term has low variance;
      with kl_z replaced by log_ratio it is an importance-weighted bound (K = 1).
    key: not used; every loss takes one.
    smoothing: [] e in [0, 1], share of the uniform distribution in r_e.

  Returns:
    [] loss in nats: negative bound plus cross-entropy.
  """
  del key
  log_r = _sg(jax.nn.log_softmax(terms.log_p - terms.nll - terms.kl_z))
  imitation = -jnp.sum(jnp.exp(log_r) * terms.log_q)
  return expected_cost(smooth(log_r, smoothing), terms) + imitation


def reinforce(terms, key, smoothing=0.0):
  """The raw score-function estimator (Williams, 1992): unbiased for `exact`, of huge variance.

      n ~ q_e,      L = F[n] + sg(F[n]) log q_e[n]

  Its gradient has the expectation of the gradient of `exact`; its value has not.

  Args:
    terms: `ElboTerms`, fields [T + 1].
    key: consumed, draws n.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e.

  Returns:
    [] surrogate loss.
  """
  cost, log_q = sampled_cost(terms, key, smoothing)
  return cost + _sg(cost) * log_q


def nvil(terms, key, smoothing=0.0):
  """The score function with a learnt baseline (Mnih & Gregor, 2014, arXiv:1402.0030).

      n ~ q_e,      L = F[n] + sg(F[n] - b) log q_e[n] + (b - sg(F[n]))^2

  b may depend on the image and on every latent of the roll-out, for n is drawn after them: it sees
  no sampled presence, and the gradient stays unbiased for `exact`. Gradients reach the baseline
  through the last term alone, and nothing but the baseline provided that b was made from
  stopped inputs.

  Args:
    terms: `ElboTerms`, fields [T + 1], with a learnt baseline.
    key: consumed, draws n.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e.

  Returns:
    [] surrogate loss.
  """
  cost, log_q = sampled_cost(terms, key, smoothing)
  signal = _sg(cost - terms.baseline)
  return cost + signal * log_q + (terms.baseline - _sg(cost)) ** 2


def mvd(terms, key, smoothing=0.0):
  """The measure-valued derivative of each presence (Mohamed et al., 2020, arXiv:1906.10652).

      n ~ q_e,      n_t ~ q_e(n | n >= t)      p_t = q_e(n >= t) / q_e(n >= t - 1)
      L = F[n] + sum_{t <= n + 1} sg(F[n_t] - F[t - 1]) p_t

  Unbiased for `exact`: a step that is reached either goes on, as n_t does, or stops, and its
  probability is taught by the difference in cost.

  Args:
    terms: `ElboTerms`, fields [T + 1].
    key: consumed, draws n and every n_t.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e.

  Returns:
    [] surrogate loss.
  """
  log_q, cost = _costs(terms, smoothing)
  key, *keys = jax.random.split(key, len(cost))
  n = jax.random.categorical(key, _sg(log_q))
  difference, go_on = [], jnp.exp(_log_tails(log_q)[1:] - _log_tails(log_q)[:-1])
  for t, key in enumerate(keys, 1):
    later = t + jax.random.categorical(key, _sg(log_q[t:]))
    difference.append(jnp.where(t <= n + 1, cost[later] - cost[t - 1], 0.0))
  return cost[n] + _sg(jnp.stack(difference)) @ go_on


def disarm(terms, key, smoothing=0.0):
  """Antithetic presences (Dong, Mnih & Tucker, 2020, arXiv:2006.10680).

      u ~ U(0, 1)^T,      b_t = [u_t > s(-l_t)],      b'_t = [u_t < s(l_t)]
      L = (F[n] + F[n']) / 2 + sum_t sg((F[n] - F[n']) / 2 (-1)^b'_t [b_t != b'_t] s(|l_t|)) l_t

  n and n' are how many presences are 1 before the first 0, l_t the log-odds that step t goes on.
  Unbiased for `exact`.

  Args:
    terms: `ElboTerms`, fields [T + 1].
    key: consumed, draws u.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e, whose log-odds l_t are.

  Returns:
    [] surrogate loss.
  """
  log_q, cost = _costs(terms, smoothing)
  logits = _log_tails(log_q)[1:] - log_q[:-1]
  u = jax.random.uniform(key, logits.shape)
  present, antithetic = u > jax.nn.sigmoid(-logits), u < jax.nn.sigmoid(logits)
  ours, theirs = (cost[jnp.cumprod(b).sum()] for b in (present, antithetic))
  differ = jnp.where(present == antithetic, 0.0, jnp.where(antithetic, -1.0, 1.0))
  signal = 0.5 * (ours - theirs) * differ * jax.nn.sigmoid(jnp.abs(logits))
  return 0.5 * (ours + theirs) + _sg(signal) @ logits


OBJECTIVES = {loss.__name__: loss for loss in (exact, collapsed, reinforce, nvil, mvd, disarm)}


def smooth(log_w, smoothing):
  """Mixes a distribution of the count with the uniform one, (1 - e) w + e / (T + 1).

  Args:
    log_w: [T + 1] normalised log-probabilities.
    smoothing: [] e in [0, 1].

  Returns:
    [T + 1] normalised log-probabilities.
  """
  uniform = jnp.log(smoothing) - jnp.log(log_w.shape[0])
  return jnp.logaddexp(jnp.log1p(-smoothing) + log_w, uniform)


def expected_cost(log_w, terms):
  """The cost of a posterior of the count, sum_k w[k] (nll[k] + kl_z[k] - log p[k] + log w[k]).

  Args:
    log_w: [T + 1] normalised log-probabilities.
    terms: `ElboTerms`, fields [T + 1].

  Returns:
    [] nats.
  """
  return jnp.sum(jnp.exp(log_w) * (terms.nll + terms.kl_z - terms.log_p + log_w))


def _costs(terms, smoothing):
  """The smoothed posterior, log q_e [T + 1], and the costs F [T + 1] under it."""
  log_q = smooth(terms.log_q, smoothing)
  return log_q, terms.nll + terms.kl_z - terms.log_p + log_q


def sampled_cost(terms, key, smoothing):
  """The cost of a drawn count, n ~ q_e.

  Args:
    terms: `ElboTerms`, fields [T + 1].
    key: consumed, draws n.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e.

  Returns:
    ([] F[n] in nats, [] log q_e[n]).
  """
  log_q, cost = _costs(terms, smoothing)
  n = jax.random.categorical(key, _sg(log_q))
  return cost[n], log_q[n]


def _log_tails(log_q):
  """[T + 1] log q(n >= t)."""
  return jax.lax.cumlogsumexp(log_q, reverse=True)
