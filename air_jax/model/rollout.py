"""The inference step, and the roll-out of all T of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from air_jax.model import rendering
from air_jax.model import spatial_transformer as transformer
from air_jax.model.model import Model, reference_size
from air_jax.model.networks import Params
from air_jax.model.parts import Seen
from air_jax.types import Noise, Normal, Rollout

Sampler = Callable[[Normal, Array], Array]  # a Gaussian and noise -> latents


def sample_noise(model: Model, key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> Noise:
  """Standard normal noise for `rollout`. The key is consumed.

  Args:
    model: decides the sizes.
    key: PRNG key.
    shape: leading axes, such as (B,) for a batch.

  Returns:
    Noise with these leading axes. With zeros in its place a roll-out takes posterior means.
  """
  spec = model.spec
  object_key, background_key = jax.random.split(key)
  return Noise(
    jax.random.normal(object_key, (*shape, spec.max_steps, 3 + spec.code_size)),
    jax.random.normal(background_key, (*shape, spec.background_code_size)),
  )


def reparameterize(normal: Normal, noise: Array) -> Array:
  """A sample of a Gaussian that is differentiable in mean and deviation: mean + std * noise."""
  return normal.mean + normal.std * noise


def stop_sample(normal: Normal, noise: Array) -> Array:
  """The same sample as a constant: no gradient passes it."""
  return jax.lax.stop_gradient(reparameterize(normal, noise))


class StepState(NamedTuple):
  """What one inference step hands to the next."""

  cell: Any  # state of the recurrent cell
  z: Float[Array, ' 3+D']  # z_where and z_what of the last object
  left: Float[Array, 'H W C']  # to explain, where the cell looks at it; passes no gradient
  refused: Bool[Array, '']  # whether the last step's object was, see `rollout`


class StepOutput(NamedTuple):
  """What one inference step finds; the fields are those of `Rollout` without the leading [T]."""

  h: Float[Array, ' L']
  where: Normal
  what: Normal
  z_where: Float[Array, ' 3']
  z_what: Float[Array, ' D']
  crop: Float[Array, 'h w C']
  rendered: tuple[Array, Array] | None  # glimpse and layer, where the next step needs them


def initial_step_state(
  model: Model, params: Params, foreground: Float[Array, 'H W C']
) -> StepState:
  """The state before the first inference step.

  Args:
    model: the model.
    params: parameters of its networks.
    foreground: the image minus its background.
  """
  return StepState(
    model.networks.cell.initial_state(params),
    jnp.zeros(3 + model.spec.code_size),
    foreground,
    jnp.array(False),
  )


def inference_step(
  model: Model,
  params: Params,
  foreground: Float[Array, 'H W C'],
  encoded: Array,
  state: StepState,
  noise: Float[Array, ' 3+D'],
  sample: Sampler = reparameterize,
  skip_refused: bool = False,
) -> tuple[StepState, StepOutput]:
  """Finds one object, as if there was one more.

  Args:
    model: the model.
    params: parameters of its networks.
    foreground: the image minus its background.
    encoded: `networks.cell.encode` of it.
    state: of the step before.
    noise: of z_where and z_what.
    sample: how latents are drawn.
    skip_refused: whether what the presence head refuses stays to be explained, and is not proposed
      again where the cell can help it.
  """
  nets = model.networks
  seen = Seen(
    image=foreground,
    encoded=encoded,
    left=state.left,
    z=state.z,
    refused=state.refused,
    first_size=jnp.asarray(model.numbers.size_prior_mean),
    size=jax.lax.stop_gradient(reference_size(model, params)),
  )
  cell, (h, where, mask) = nets.cell.find(params, state.cell, seen)
  z_where = sample(where, noise[:3])
  # Where objects hide others, what is hidden is no part of this one. Else it is: the rest of an
  # object that was explained in part would be an object.
  own = state.left if model.compositing.ordered else foreground
  own = own if mask is None else rendering.copies(mask, own.shape[-1]) * own
  crop = transformer.crop(own, transformer.place(z_where), model.spec.glimpse_size)
  what = nets.encode_glimpse(params, crop)
  z_what = sample(what, noise[3:])
  rendered = render_object(model, params, z_where, z_what) if model.spec.sees_left else None
  left = _left(model, state.left, rendered)
  refused = jnp.array(False)
  if skip_refused:
    refused = nets.presence(params, h) < 0
    left = jnp.where(refused, state.left, left)
  new_state = StepState(cell, jnp.concatenate([z_where, z_what]), left, refused)
  return new_state, StepOutput(h, where, what, z_where, z_what, crop, rendered)


def rollout(
  model: Model,
  params: Params,
  image: Float[Array, 'H W C'],
  noise: Noise,
  sample: Sampler = reparameterize,
  skip_refused: bool = False,
  hidden: Float[Array, 'H W C'] | None = None,
) -> Rollout:
  """Runs all T inference steps, as if each found an object.

  Steps after the n-th cannot influence what was painted up to it, so that this one roll-out serves
  every count (see `elbo_terms`).

  Args:
    model: the model.
    params: parameters of its networks.
    image: in [0, 1].
    noise: from `sample_noise`; the roll-out is a deterministic function of it.
    sample: how latents are drawn: `reparameterize`, `stop_sample`, or any other function.
    skip_refused: whether steps go on elsewhere after one that the presence head refuses, for
      parsing: its count is then no longer that of a prefix.
    hidden: the part of the image that the first step does not see as left to explain; None is none.
  """
  nets = model.networks
  background_posterior = nets.encode_background(params, image)
  z_background = sample(background_posterior, noise.background)
  background = nets.decode_background(params, z_background)
  # The steps see only what the background leaves to explain.
  foreground = image - jax.lax.stop_gradient(background)
  encoded = nets.cell.encode(params, foreground)

  def step(state, noise):
    return inference_step(model, params, foreground, encoded, state, noise, sample, skip_refused)

  # Unrolled, for T is small: XLA then fuses across steps, and counts their work in full.
  state = initial_step_state(model, params, foreground)
  if hidden is None:
    _, steps = jax.lax.scan(step, state, noise.objects, unroll=True)
  else:
    half, first = step(state._replace(left=foreground - hidden), noise.objects[0])
    left = _left(model, foreground, first.rendered)
    state = half._replace(left=jnp.where(half.refused, foreground, left))
    _, steps = jax.lax.scan(step, state, noise.objects[1:], unroll=True)
    steps = jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, steps)
  # What no later step needs is done for all steps at once, in larger, faster matrix products.
  logits = jax.vmap(lambda h: nets.presence(params, h))(steps.h)
  glimpses, layers = steps.rendered or jax.vmap(lambda *z: render_object(model, params, *z))(
    steps.z_where, steps.z_what
  )
  additions = model.compositing.additions(background, layers)
  return Rollout(
    presence_logits=logits,
    where=steps.where,
    what=steps.what,
    background=background_posterior,
    z_where=steps.z_where,
    z_what=steps.z_what,
    z_background=z_background,
    crops=steps.crop,
    glimpses=glimpses,
    painted=layers,
    additions=additions,
    canvases=rendering.accumulate(background, additions),
  )


def render_object(
  model: Model, params: Params, z_where: Float[Array, ' 3'], z_what: Float[Array, ' D']
) -> tuple[Float[Array, 'h w A'], Float[Array, 'H W A']]:
  """One object: its glimpse, and its layer on the canvas."""
  if model.networks.render:
    layer = model.networks.render(z_where, z_what)
    return transformer.crop(layer, transformer.place(z_where), model.spec.glimpse_size), layer
  glimpse = model.networks.decode_glimpse(params, z_what)
  return glimpse, rendering.paint(glimpse, z_where, model.spec.canvas_size)


def _left(model, left, rendered):
  """What is left to explain after an object, where the cell looks at it."""
  if rendered is None:
    return left
  return model.compositing.leave(left, jax.lax.stop_gradient(rendered[1]))


# The fields of a roll-out that have a leading [T].
OF_OBJECTS = (
  'presence_logits', 'where', 'what', 'z_where', 'z_what', 'crops', 'glimpses', 'painted',
)  # fmt: skip


def reorder(model: Model, rolled: Rollout, order: Int[Array, ' T']) -> Rollout:
  """The same objects in another order, with the canvases of that order."""

  def take(x: Array) -> Array:
    return x.reshape(len(x), -1)[order].reshape(x.shape)

  fields = {name: jax.tree.map(take, getattr(rolled, name)) for name in OF_OBJECTS}
  background = rolled.canvases[0]
  additions = model.compositing.additions(background, fields['painted'])
  canvases = rendering.accumulate(background, additions)
  return rolled._replace(**fields, additions=additions, canvases=canvases)
