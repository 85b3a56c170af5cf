"""Losses that treat the presence of each inference step t, not the count as a whole.

The count is the number of presences equal to 1 before the first 0. Under the (smoothed) posterior
q_e of the count, presence t is sampled if all earlier ones are 1, and is 1 with probability

    p_t = q_e(n >= t) / q_e(n >= t - 1),      l_t = log p_t - log(1 - p_t).

Arguments are those of count.py, the cost F that of terms.py.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike

from air_jax.objectives import checks, distributions
from air_jax.objectives.baseline import NO_AVERAGES, SignalAverages, learning_signal
from air_jax.objectives.terms import costs, smooth
from air_jax.types import ElboTerms

_sg = jax.lax.stop_gradient


def nvil_to_go(
  terms: ElboTerms,
  key: PRNGKeyArray,
  smoothing: ScalarLike = 0.0,
  state: SignalAverages = NO_AVERAGES,
) -> tuple[Float[Array, ''], SignalAverages]:
  """NVIL with the cost to go: each presence is credited with later costs only (arXiv:1402.0030).

      n ~ q_e,      R_t = F[n] - F_<t      F_<t = C[t - 1] + log q_e(n >= t - 1)
      L = F[n] + sum_{t <= n + 1} signal(R_t, b_t) log q_e(presence t)
          + mean_{t <= n + 1} baseline_loss(R_t, b_t)

  with C[k] = nll[k] + kl_z[k] - log p[k] and b_t = terms.baseline[t - 1]. The cost F_<t of the
  first t - 1 objects is known before presence t is sampled, so subtracting it leaves the gradient
  unbiased for `exact`. The new state is the mean over the steps t <= n + 1.
  """
  checks.one_rollout('nvil_to_go', terms)
  baseline = checks.require('nvil_to_go', terms, 'baseline')
  log_q, cost = costs(terms, smoothing)
  log_on, log_off = _log_presence_probs(log_q)
  n = jax.random.categorical(key, _sg(log_q))
  steps = jnp.arange(1, len(cost))
  known = (cost - log_q + _log_tails(log_q))[:-1]
  learning = jax.vmap(learning_signal, (0, 0, None))(cost[n] - known, baseline, state)
  reached = steps <= n + 1
  # A second `where`, as 0 * -inf is NaN: a step that is not reached may have probability 0.
  log_prob = jnp.where(reached, jnp.where(steps <= n, log_on, log_off), 0.0)
  scores = jnp.where(reached, learning.signal * log_prob, 0.0)
  baseline_loss = jnp.mean(learning.baseline_loss, where=reached)
  averages = jax.tree.map(lambda each: jnp.mean(each, where=reached), learning.averages)
  return cost[n] + jnp.sum(scores) + baseline_loss, averages


def mvd(terms: ElboTerms, key: PRNGKeyArray, smoothing: ScalarLike = 0.0) -> Float[Array, '']:
  """The measure-valued derivative of each presence (Mohamed et al., 2020, arXiv:1906.10652).

      n ~ q_e,      n_t ~ q_e(n | n >= t)
      L = F[n] + sum_{t <= n + 1} sg(F[n_t] - F[t - 1]) p_t

  Unbiased for `exact`: a step that is reached either finds an object, as in n_t, or stops. The
  difference between these two costs is the gradient of its probability.
  """
  checks.one_rollout('mvd', terms)
  log_q, cost = costs(terms, smoothing)
  key, *keys = jax.random.split(key, len(cost))
  n = jax.random.categorical(key, _sg(log_q))
  difference, present = [], jnp.exp(_log_presence_probs(log_q)[0])
  for t, key in enumerate(keys, 1):
    n_t = t + jax.random.categorical(key, _sg(log_q[t:]))
    difference.append(jnp.where(t <= n + 1, cost[n_t] - cost[t - 1], 0.0))
  return cost[n] + _sg(jnp.stack(difference)) @ present


def disarm(terms: ElboTerms, key: PRNGKeyArray, smoothing: ScalarLike = 0.0) -> Float[Array, '']:
  """Antithetic presences (Dong, Mnih & Tucker, 2020, arXiv:2006.10680).

      u ~ U(0, 1)^T,      b_t = [u_t > s(-l_t)],      b'_t = [u_t < s(l_t)]
      L = (F[n] + F[n']) / 2 + sum_t sg((F[n] - F[n']) / 2 (-1)^b'_t [b_t != b'_t] s(|l_t|)) l_t

  n and n' are the numbers of presences b and b' equal to 1 before the first 0. Unbiased for
  `exact`.
  """
  checks.one_rollout('disarm', terms)
  log_q, cost = costs(terms, smoothing)
  logits = _logits(log_q)
  u = jax.random.uniform(key, logits.shape)
  present, antithetic = u > jax.nn.sigmoid(-logits), u < jax.nn.sigmoid(logits)
  cost, other_cost = (cost[jnp.cumprod(b).sum()] for b in (present, antithetic))
  differ = jnp.where(present == antithetic, 0.0, jnp.where(antithetic, -1.0, 1.0))
  signal = 0.5 * (cost - other_cost) * differ * jax.nn.sigmoid(jnp.abs(logits))
  return 0.5 * (cost + other_cost) + _sg(signal) @ logits


def concrete(
  terms: ElboTerms,
  key: PRNGKeyArray,
  smoothing: ScalarLike = 0.0,
  temperature: ScalarLike = 1.0,
) -> Float[Array, '']:
  """Presences relaxed to numbers between 0 and 1, which pass gradients (as in aakhundov's AIR).

      g_t ~ Logistic,      a_t = prod_{s <= t} sigmoid((l_s + g_s) / temperature)
      L = -log N(x | background + sum_t a_t layer_t, sigma)
          + kl_z[0] + sum_t a_t (kl_z[t] - kl_z[t - 1]) + KL(q_e || p)

  (Maddison et al., arXiv:1611.00712; Jang et al., arXiv:1611.01144.) Biased for `exact`, since it
  is the cost of images with partly present objects. A lower temperature (> 0) has less bias, and
  gradients that vanish or explode. The KL of the count is not relaxed. Needs `terms.products`.
  """
  checks.one_rollout('concrete', terms)
  products = checks.require('concrete', terms, 'products')
  log_q = smooth(terms.log_q, smoothing)
  logits = _logits(log_q)
  noise = jax.random.logistic(key, logits.shape)
  present = jnp.cumprod(jax.nn.sigmoid((logits + noise) / temperature))
  weights = jnp.concatenate([jnp.ones(1), -present])
  nll = terms.nll[0] + 0.5 * (weights @ products @ weights - products[0, 0])
  kl_z = terms.kl_z[0] + present @ jnp.diff(terms.kl_z)
  return nll + kl_z + distributions.count_kl(log_q, terms.log_p)


def _log_tails(log_q: Float[Array, ' T+1']) -> Float[Array, ' T+1']:
  """Log q(n >= t), t = 0..T."""
  return jax.lax.cumlogsumexp(log_q, reverse=True)


def _log_presence_probs(
  log_q: Float[Array, ' T+1'],
) -> tuple[Float[Array, ' T'], Float[Array, ' T']]:
  """Log p_t and log(1 - p_t)."""
  tails = _log_tails(log_q)
  return tails[1:] - tails[:-1], log_q[:-1] - tails[:-1]


def _logits(log_q: Float[Array, ' T+1']) -> Float[Array, ' T']:
  log_on, log_off = _log_presence_probs(log_q)
  return log_on - log_off
