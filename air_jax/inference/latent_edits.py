"""Edits of a scene's latents: move, resize or remove an object, exchange two, or change the order.

Pure functions; `predictor.Model.edit` applies them to many scenes and renders the results. `which`
and `other` are numbers of objects from 0, in the order found. Absent objects stay as they are.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from air_jax.model import spatial_transformer as transformer
from air_jax.types import Latents

_MARGIN = 1e-4  # to the ends of a latent's range, where its raw value would be infinite


def move(latents: Latents, which: int, down: float = 0.0, right: float = 0.0) -> Latents:
  """Moves an object by fractions of the canvas; its centre stays on the canvas.

  Args:
    latents: of one scene.
    which: number of the object.
    down: distance; negative moves it up.
    right: distance; negative moves it left.
  """
  scale, x, y = transformer.place(latents.z_where[which])
  return _set_window(latents, which, jnp.stack([scale, x + 2.0 * right, y + 2.0 * down]))


def resize(latents: Latents, which: int, factor: float) -> Latents:
  """Scales an object's window about its centre; its side stays below that of the canvas."""
  scale, x, y = transformer.place(latents.z_where[which])
  return _set_window(latents, which, jnp.stack([scale * factor, x, y]))


def swap(latents: Latents, which: int, other: int) -> Latents:
  """Exchanges the appearance of two objects, which stay in their places."""
  both = jnp.array([which, other])
  return latents._replace(z_what=latents.z_what.at[both].set(latents.z_what[both[::-1]]))


def to_front(latents: Latents, which: int) -> Latents:
  """Gives an object the number 0: where objects hide others, it hides all of them."""
  return _renumber(latents, which, -1)


def remove(latents: Latents, which: int) -> Latents:
  """Removes an object; those after it take the next lower numbers."""
  present = which < latents.count
  # The removed object goes to the last row, which is then absent.
  last = _renumber(latents, which, len(latents.z_what))
  return last._replace(count=latents.count - present)


def _renumber(latents: Latents, which: int, number: int) -> Latents:
  """Moves an object, if it is present, to the row that a number has among those of the others."""
  steps = jnp.arange(len(latents.z_what))
  order = jnp.argsort(jnp.where(steps == which, number, steps))
  order = jnp.where(which < latents.count, order, steps)
  return latents._replace(z_where=latents.z_where[order], z_what=latents.z_what[order])


def _set_window(latents: Latents, which: int, window: Float[Array, ' 3']) -> Latents:
  """Gives an object a window (scale, x, y): the inverse of `transformer.place`."""
  scale = jnp.clip(window[0], _MARGIN, 1.0 - _MARGIN)
  centre = jnp.clip(window[1:], _MARGIN - 1.0, 1.0 - _MARGIN)
  raw = jnp.concatenate([jnp.log(scale / (1.0 - scale))[None], jnp.arctanh(centre)])
  return latents._replace(z_where=latents.z_where.at[which].set(raw))
