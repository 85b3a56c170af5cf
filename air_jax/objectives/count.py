"""Losses that train AIR: pure functions of the terms of one roll-out, in nats.

Here are those that sum the count out or draw it as a whole; those that go through each presence
stand in presences.py, those of several roll-outs in particles.py, and estimators.py names all.

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

      n ~ q_e,      L = F[n] + sg(signal(F[n], b)) log q_e[n] + (what teaches b)

  b may depend on the image and on every latent of the roll-out, for n is drawn after them: it sees
  no sampled presence, and the gradient stays unbiased for `exact`. See `score_signal`.

  Args:
    terms: `ElboTerms`, fields [T + 1], with a learnt baseline, whose first guess is used.
    key: consumed, draws n.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e.

  Returns:
    [] surrogate loss.
  """
  cost, log_q = sampled_cost(terms, key, smoothing)
  signal, lesson = score_signal(cost, terms.baseline.guess[0], terms.baseline)
  return cost + signal * log_q + lesson


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


def sampled_cost(terms, key, smoothing):
  """The cost of a drawn count, n ~ q_e.

  Args:
    terms: `ElboTerms`, fields [T + 1].
    key: consumed, draws n.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e.

  Returns:
    ([] F[n] in nats, [] log q_e[n]).
  """
  log_q, cost = costs(terms, smoothing)
  n = jax.random.categorical(key, _sg(log_q))
  return cost[n], log_q[n]


def costs(terms, smoothing):
  """The smoothed posterior of the count and what each count costs under it.

  Args:
    terms: `ElboTerms`, fields [T + 1].
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e.

  Returns:
    ([T + 1] log q_e, [T + 1] F in nats).
  """
  log_q = smooth(terms.log_q, smoothing)
  return log_q, terms.nll + terms.kl_z - terms.log_p + log_q


def score_signal(cost, guess, baseline):
  """What a cost tells about the decision that brought it, beyond what was to be expected.

      (F - b - c) / max(1, sqrt v)

  with c a moving average of F - b, and v one of (F - b - c)^2 (Mnih & Gregor, 2014, section 2.3).
  The guess b learns by its squared error (F - b - c)^2. A moving average here is a parameter whose
  gradient is its distance from what it averages: plain gradient descent moves it.

  Args:
    cost: [] F, nats.
    guess: [] b, nats; nothing but the baseline learns if it was made from stopped inputs.
    baseline: `Baseline`, which holds c and v.

  Returns:
    ([] signal, stopped; [] loss that teaches b, c and v).
  """
  left = _sg(cost) - guess
  centred = left - _sg(baseline.centre)
  signal = _sg(centred / jnp.maximum(1.0, jnp.sqrt(baseline.variance)))
  averages = _follow(baseline.centre, left) + _follow(baseline.variance, centred**2)
  return signal, centred**2 + averages


def _follow(average, value):
  """A loss of value 0 whose gradient in the average is its distance from the value."""
  loss = average * _sg(average - value)
  return loss - _sg(loss)
