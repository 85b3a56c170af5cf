"""Losses that go through the presence of each step, rather than through the count as a whole.

The count is how many presences are 1 before the first 0. Under the (smoothed) posterior q_e of the
count, presence t is drawn where all before it are 1, and is 1 with probability

    p_t = q_e(n >= t) / q_e(n >= t - 1),      l_t = log p_t - log(1 - p_t).

Signature, terms and smoothing are those of objectives.py.
"""

import jax
import jax.numpy as jnp

from air_jax.objectives import count, distributions

_sg = jax.lax.stop_gradient


def nvil_to_go(terms, key, smoothing=0.0):
  """NVIL where every presence answers for what follows it alone (Mnih & Gregor, 2014).

      n ~ q_e,      R_t = F[n] - F_<t      F_<t = C[t - 1] + log q_e(n >= t - 1)
      L = F[n] + sum_{t <= n + 1} sg(signal(R_t, b_t)) log q_e(presence t) + (what teaches b)

  with C[k] = nll[k] + kl_z[k] - log p[k]. What the first t - 1 objects leave to pay is known before
  presence t is drawn, so that taking it away leaves the gradient unbiased for `exact`.

  Args:
    terms: `ElboTerms`, fields [T + 1], with a learnt baseline: b_t guesses R_t.
    key: consumed, draws n.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e.

  Returns:
    [] surrogate loss.
  """
  log_q, cost = count.costs(terms, smoothing)
  log_on, log_off = _log_presences(log_q)
  n = jax.random.categorical(key, _sg(log_q))
  steps = jnp.arange(1, len(cost))
  before = (cost - log_q + _log_tails(log_q))[:-1]
  score = jax.vmap(lambda *args: count.score_signal(*args, terms.baseline))
  signals, lessons = score(cost[n] - before, terms.baseline.guess)
  drawn = jnp.where(steps <= n, log_on, log_off)
  reached = steps <= n + 1
  # A step that is not reached has no part in it, be its log-probability ever so low.
  scores = jnp.where(reached, signals * jnp.where(reached, drawn, 0.0), 0.0)
  return cost[n] + jnp.sum(scores) + jnp.mean(lessons, where=reached)


def mvd(terms, key, smoothing=0.0):
  """The measure-valued derivative of each presence (Mohamed et al., 2020, arXiv:1906.10652).

      n ~ q_e,      n_t ~ q_e(n | n >= t)
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
  log_q, cost = count.costs(terms, smoothing)
  key, *keys = jax.random.split(key, len(cost))
  n = jax.random.categorical(key, _sg(log_q))
  difference, go_on = [], jnp.exp(_log_presences(log_q)[0])
  for t, key in enumerate(keys, 1):
    later = t + jax.random.categorical(key, _sg(log_q[t:]))
    difference.append(jnp.where(t <= n + 1, cost[later] - cost[t - 1], 0.0))
  return cost[n] + _sg(jnp.stack(difference)) @ go_on


def disarm(terms, key, smoothing=0.0):
  """Antithetic presences (Dong, Mnih & Tucker, 2020, arXiv:2006.10680).

      u ~ U(0, 1)^T,      b_t = [u_t > s(-l_t)],      b'_t = [u_t < s(l_t)]
      L = (F[n] + F[n']) / 2 + sum_t sg((F[n] - F[n']) / 2 (-1)^b'_t [b_t != b'_t] s(|l_t|)) l_t

  n and n' are how many presences are 1 before the first 0. Unbiased for `exact`.

  Args:
    terms: `ElboTerms`, fields [T + 1].
    key: consumed, draws u.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e.

  Returns:
    [] surrogate loss.
  """
  log_q, cost = count.costs(terms, smoothing)
  logits = _logits(log_q)
  u = jax.random.uniform(key, logits.shape)
  present, antithetic = u > jax.nn.sigmoid(-logits), u < jax.nn.sigmoid(logits)
  ours, theirs = (cost[jnp.cumprod(b).sum()] for b in (present, antithetic))
  differ = jnp.where(present == antithetic, 0.0, jnp.where(antithetic, -1.0, 1.0))
  signal = 0.5 * (ours - theirs) * differ * jax.nn.sigmoid(jnp.abs(logits))
  return 0.5 * (ours + theirs) + _sg(signal) @ logits


def concrete(terms, key, smoothing=0.0, temperature=1.0):
  """Presences relaxed to numbers between 0 and 1, which gradients pass (as in aakhundov's AIR).

      g_t ~ Logistic,      a_t = prod_{s <= t} s((l_s + g_s) / temperature)
      L = -log N(x | background + sum_t a_t paint_t, sigma)
          + kl_z[0] + sum_t a_t (kl_z[t] - kl_z[t - 1]) + KL(q_e || p)

  (Maddison et al., arXiv:1611.00712; Jang et al., arXiv:1611.01144.) Biased for `exact`: it is the
  cost of scenes with shares of objects, the less the lower the temperature, at the price of
  gradients that vanish or burst. The KL of the count is that of the counts themselves.

  Args:
    terms: `ElboTerms`, fields [T + 1], with `products`.
    key: consumed, draws g.
    smoothing: [] e in [0, 1], share of the uniform distribution in q_e.
    temperature: [] > 0.

  Returns:
    [] loss in nats.
  """
  log_q = count.smooth(terms.log_q, smoothing)
  logits = _logits(log_q)
  noise = jax.random.logistic(key, logits.shape)
  present = jnp.cumprod(jax.nn.sigmoid((logits + noise) / temperature))
  weights = jnp.concatenate([jnp.ones(1), -present])
  products = terms.products
  nll = terms.nll[0] + 0.5 * (weights @ products @ weights - products[0, 0])
  kl_z = terms.kl_z[0] + present @ jnp.diff(terms.kl_z)
  return nll + kl_z + distributions.count_kl(log_q, terms.log_p)


def _log_tails(log_q):
  """[T + 1] log q(n >= t)."""
  return jax.lax.cumlogsumexp(log_q, reverse=True)


def _log_presences(log_q):
  """[T] log p_t, and log(1 - p_t)."""
  tails = _log_tails(log_q)
  return tails[1:] - tails[:-1], log_q[:-1] - tails[:-1]


def _logits(log_q):
  log_on, log_off = _log_presences(log_q)
  return log_on - log_off
