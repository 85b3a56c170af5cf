"""Networks for objects that are solids on a table: a renderer in place of the glimpse decoder.

    model.networks = 'air_jax.model.solids:build'  # or ':build_with_differences'
    model.compositing = 'depth'

The third result of Eslami et al. (2016), vision as inverse graphics. A window (z_where) says where
a solid is seen and how large, and so where it stands and how large it is, since it stands on the
table: everything that works with windows works as before. z_what, a Gaussian, says the rest:

    z_what[:3]    kind: the solid is a mixture of the kinds, with weights softmax(z_what[:3] / 0.3):
                  a relaxed choice (Maddison et al., 2017, with Gaussian noise)
    z_what[3:5]   rotation: the direction of this vector, the projected normal distribution, is four
                  times the rotation, for a cube looks the same four times in a turn. The prior is
                  uniform on the circle
    z_what[5:]    colours: sigmoids of these; only in colour, else solids are white

With one turn of the vector for a whole turn of the cube, the posterior would need four modes, and
no continuous encoder could follow a cube that turns.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from air_jax import scene3d
from air_jax.config.sections import ModelSpec
from air_jax.errors import UserError
from air_jax.model import networks, spatial_transformer
from air_jax.model.networks import Networks
from air_jax.model.parts import Part
from air_jax.types import Pose

_TEMPERATURE = 0.3
_SOFTNESS = 0.04  # of edges, half table widths
_DIFFERENCE = 0.02  # half table widths, half a pixel of 64; radians
_SYMMETRY = max(scene3d.SYMMETRIES)
_FILLED = 0.6  # half the width of a solid, as a fraction of half its window


def build(spec: ModelSpec) -> Networks:
  """Makes the networks of an architecture: the standard ones, and a renderer without parameters.

  Gradients are the derivatives of a renderer with soft edges.

  Raises:
    UserError: compositing or size of the code do not fit.
  """
  return _build(spec, scene3d.View(spec.canvas_size, _SOFTNESS))


def build_with_differences(spec: ModelSpec) -> Networks:
  """As `build`, as if the renderer had no derivatives, such as the paper's.

  Gradients are differences of pictures: for each object 8 more of a cube, 6 of other kinds.
  """
  return _build(spec, scene3d.View(spec.canvas_size, _SOFTNESS, _DIFFERENCE))


def _build(spec: ModelSpec, view: scene3d.View) -> Networks:
  if spec.compositing != 'depth':
    raise UserError(
      f"model.compositing={spec.compositing!r} is not allowed with solids; it must be 'depth'"
    )
  if spec.code_size != (needed := code_size(spec.channels)):
    raise UserError(
      f'model.code_size={spec.code_size} is not allowed with solids of {spec.channels} channels; '
      f'it must be {needed}'
    )
  no_decoder = Part(lambda key: {}, lambda params, z_what: jnp.zeros(spec.glimpse_size**2))
  made = networks.build(dataclasses.replace(spec, compositing='add'), glimpse_decoder=no_decoder)

  def render(z_where, z_what):
    return layer(pose(z_where, z_what), view)

  def decode_glimpse(params, z_what):
    del params
    middle = jnp.zeros(3)
    window = spatial_transformer.place(middle)
    return spatial_transformer.crop(render(middle, z_what), window, spec.glimpse_size)

  return made._replace(decode_glimpse=decode_glimpse, render=render, pose=pose)


def code_size(channels: int) -> int:
  """D, the size of z_what that solids need."""
  return len(scene3d.KINDS) + 2 + (channels if channels > 1 else 0)


def pose(z_where: Float[Array, ' 3'], z_what: Float[Array, ' D']) -> Pose:
  """The solid that latents describe."""
  logits, turn, colour = jnp.split(z_what, (len(scene3d.KINDS), len(scene3d.KINDS) + 2))
  scale, x, y = spatial_transformer.place(z_where)
  where, size = scene3d.stand(x, y, _FILLED * scale)
  undecided = (turn == 0).all()  # of which arctan2 has no derivative
  return Pose(
    kinds=jax.nn.softmax(logits / _TEMPERATURE),
    place=where,
    rotation=jnp.arctan2(turn[1], jnp.where(undecided, 1.0, turn[0])) / _SYMMETRY,
    size=size,
    colour=jax.nn.sigmoid(colour) if len(colour) else jnp.ones(1),
  )


def layer(solid: Pose, view: scene3d.View) -> Float[Array, 'H W A']:
  """A solid as `rendering.Depth` takes it: colours times mask, mask, depth."""
  layers = scene3d.cast_each(solid.place, solid.rotation, solid.size, view)
  masks = jnp.stack([each.coverage for each in layers])
  lights = jnp.stack([each.coverage * each.brightness for each in layers])
  # As products of matrices, for the gradient of broadcasting is a slow sum on CPUs.
  mix = functools.partial(jnp.einsum, precision='highest')
  mask = mix('k,khw->hw', solid.kinds, masks)
  colours = mix('c,k,khw->hwc', solid.colour, solid.kinds, lights)
  every = jnp.arange(len(scene3d.KINDS))
  radius = solid.kinds @ scene3d.foot_radius(every, jnp.broadcast_to(solid.size, every.shape))
  depth = jax.lax.stop_gradient(scene3d.power(solid.place, radius))
  return jnp.concatenate([colours, mask[..., None], jnp.broadcast_to(depth, (*mask.shape, 1))], -1)
