"""Networks whose objects are solids on a table: a renderer in place of the glimpse decoder.

    model.networks = 'air_jax.model.solids:build', with model.compositing = 'depth'

The third result of Eslami et al. (2016), vision as inverse graphics. A window (z_where) says where
a solid is seen and how large, and so where it stands and how large it is, since it stands on the
table: everything that works with windows works as before. z_what, a Gaussian, says the rest:

    z_what[:3]    kind: the solid is a mixture of the kinds, with weights softmax(z_what[:3] / 0.3):
                  a relaxed choice (Maddison et al., 2017, with Gaussian noise)
    z_what[3:5]   rotation: the direction of this vector, the projected normal distribution; its
                  prior is uniform on the circle
    z_what[5:]    colours: sigmoids of these; only in colour, else solids are white

The posterior of the rotation has one mode. A cube has four that look alike.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from air_jax import scene3d
from air_jax.config.sections import ModelSpec
from air_jax.errors import UserError
from air_jax.model import networks, spatial_transformer
from air_jax.model.networks import Networks
from air_jax.model.parts import Part

_TEMPERATURE = 0.3
_SOFTNESS = 0.04  # of edges, half table widths
_FILLED = 0.6  # half the width of a solid, as a fraction of half its window


class Pose(NamedTuple):
  """A solid as latents describe it."""

  kinds: Float[Array, ' K']  # weights, which add up to 1
  where: Float[Array, '2']  # place on the table, in half table widths
  rotation: Float[Array, '']  # radians anticlockwise as seen from above, in [-pi, pi]
  size: Float[Array, '']  # half the height, in half table widths
  colour: Float[Array, ' C']  # in [0, 1]


def build(spec: ModelSpec) -> Networks:
  """Makes the networks of an architecture: the standard ones, and a renderer without parameters.

  Raises:
    UserError: compositing or size of the code do not fit.
  """
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
  view = scene3d.View(spec.canvas_size, _SOFTNESS)

  def render(z_where, z_what):
    return layer(pose(z_where, z_what), view)

  def decode_glimpse(params, z_what):
    del params
    middle = jnp.zeros(3)
    window = spatial_transformer.place(middle)
    return spatial_transformer.crop(render(middle, z_what), window, spec.glimpse_size)

  return made._replace(decode_glimpse=decode_glimpse, render=render)


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
    where=where,
    rotation=jnp.arctan2(turn[1], jnp.where(undecided, 1.0, turn[0])),
    size=size,
    colour=jax.nn.sigmoid(colour) if len(colour) else jnp.ones(1),
  )


def layer(solid: Pose, view: scene3d.View) -> Float[Array, 'H W A']:
  """A solid as `rendering.Depth` takes it: colours times mask, mask, depth."""
  layers = scene3d.cast_each(solid.where, solid.rotation, solid.size, view)
  covered = solid.kinds[:, None, None] * layers.coverage
  mask, light = covered.sum(0), (covered * layers.brightness).sum(0)
  every = jnp.arange(len(scene3d.KINDS))
  radius = solid.kinds @ scene3d.foot_radius(every, jnp.broadcast_to(solid.size, every.shape))
  depth = jnp.broadcast_to(scene3d.power(solid.where, radius), mask.shape)
  return jnp.stack([*(light * channel for channel in solid.colour), mask, depth], -1)
