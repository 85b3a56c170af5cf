"""Objects without ink: those that explain nothing of an image are not reported."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from air_jax import objectives
from air_jax.model import air, search
from air_jax.model.networks import Params
from air_jax.objectives import distributions
from air_jax.types import Latents, Rollout


def explain(
  model: air.Model, params: Params, image: Float[Array, 'H W C']
) -> tuple[Latents, Rollout, Float[Array, ' T+1'], Float[Array, '']]:
  """The explanation of an image in [0, 1] by objects with ink.

  Returns:
    (latents, roll-out, log-probability of each count, the bound in nats), the first three as
    `leave_out` gives them; the bound is that of the roll-out with all its objects.
  """
  latents, rolled = air.parse(model, params, image)
  log_probs = air.count_log_posterior(model, params, image, rolled)
  terms = air.elbo_terms(model, params, image, rolled, model.spec.success)
  known = leave_out(model, params, image, latents, rolled, log_probs)
  return *known, objectives.elbo(terms)


def leave_out(
  model: air.Model,
  params: Params,
  image: Float[Array, 'H W C'],
  latents: Latents,
  rolled: Rollout,
  log_probs: Float[Array, ' T+1'],
) -> tuple[Latents, Rollout, Float[Array, ' T+1']]:
  """Puts objects without ink last and counts the others.

  An object has ink where log p(x | canvas) falls by more without it than the object costs by the
  prior of the count, -log rho nats. Objects are taken away one after another, the one that explains
  least first, so that of two that paint the same thing one stays.

  Args:
    model: the model.
    params: parameters of its networks.
    image: in [0, 1].
    latents: of `air.parse`.
    rolled: of `air.parse`.
    log_probs: of each count, as `air.count_log_posterior` gives them.

  Returns:
    (latents, roll-out, log-probability of each number of objects with ink): the count is the most
    probable of these.
  """
  likely = distributions.count_mode(log_probs)
  steps = jnp.arange(len(rolled.painted))
  ink = _with_ink(model, params, image, rolled, steps < likely)
  # What is beyond the most probable count is judged by nothing: it keeps its probability.
  counted = ink | (steps >= likely)
  numbers = jnp.concatenate([jnp.zeros(1, int), jnp.cumsum(counted)])
  same = numbers == jnp.arange(len(numbers))[:, None]
  log_probs = jax.nn.logsumexp(jnp.where(same, log_probs, -jnp.inf), axis=1)
  order = jnp.argsort(~counted, stable=True)
  rolled = air.reorder(model, rolled, order)
  latents = latents._replace(
    z_where=rolled.z_where, z_what=rolled.z_what, count=distributions.count_mode(log_probs)
  )
  return latents, rolled, log_probs


def _with_ink(model, params, image, rolled, present) -> Bool[Array, ' T']:
  """Which of the objects that are present have ink."""
  model = dataclasses.replace(model, numbers=air.numbers(model, params))
  price = -jnp.log(model.spec.success)
  nll = search.subset_nll(model, image, rolled.canvases[0], rolled.painted)

  def take_away(state):
    present, now, _ = state
    without = jax.vmap(nll)(present & ~jnp.eye(len(present), dtype=bool))
    least = jnp.argmin(jnp.where(present, without, jnp.inf))
    worthless = present[least] & (without[least] - now < price)
    left = present.at[least].set(present[least] & ~worthless)
    return left, jnp.where(worthless, without[least], now), worthless

  # Most images need one pass.
  state = present, nll(present), jnp.array(True)
  kept, _, _ = jax.lax.while_loop(lambda state: state[-1], take_away, state)
  return kept
