"""Changes of a scene's latents, to be painted again: objects moved, resized, exchanged, removed.

Pure functions of one image's `Latents`; `trained.Model.edit` applies them to many. They leave alone
what is not present.
"""

import jax.numpy as jnp

from air_jax.model import spatial_transformer as transformer

_WITHIN = 1e-4  # of the ends of a latent's range, where its raw value would be infinite


def move(latents, which, down=0.0, right=0.0):
  """Moves an object.

  Args:
    latents: `Latents`.
    which: its step, from 0.
    down: how far, as a share of the canvas; negative is up.
    right: how far; negative is left. Centres stay on the canvas.

  Returns:
    `Latents`.
  """
  scale, x, y = transformer.place(latents.z_where[which])
  return _put(latents, which, jnp.stack([scale, x + 2.0 * right, y + 2.0 * down]))


def resize(latents, which, factor):
  """Makes an object larger or smaller about its centre.

  Args:
    latents: `Latents`.
    which: its step, from 0.
    factor: of its window's side, which stays below that of the canvas.

  Returns:
    `Latents`.
  """
  scale, x, y = transformer.place(latents.z_where[which])
  return _put(latents, which, jnp.stack([scale * factor, x, y]))


def swap(latents, which, other):
  """Exchanges the looks of two objects, which stay where they are.

  Args:
    latents: `Latents`.
    which: the step of one, from 0.
    other: that of the other.

  Returns:
    `Latents`.
  """
  both = jnp.array([which, other])
  return latents._replace(z_what=latents.z_what.at[both].set(latents.z_what[both[::-1]]))


def remove(latents, which):
  """Takes an object away; those after it move up by one step.

  Args:
    latents: `Latents`.
    which: its step, from 0; where it is not present, nothing changes.

  Returns:
    `Latents`.
  """
  steps = jnp.arange(len(latents.z_what))
  # The one taken away goes last, where it is not present.
  order = jnp.argsort(jnp.where(steps == which, len(steps), steps))
  here = which < latents.count
  return latents._replace(
    z_where=jnp.where(here, latents.z_where[order], latents.z_where),
    z_what=jnp.where(here, latents.z_what[order], latents.z_what),
    count=latents.count - here,
  )


def _put(latents, which, window):
  """Gives an object a window (scale, x, y): the inverse of `transformer.place`."""
  scale = jnp.clip(window[0], _WITHIN, 1.0 - _WITHIN)
  centre = jnp.clip(window[1:], _WITHIN - 1.0, 1.0 - _WITHIN)
  raw = jnp.concatenate([jnp.log(scale / (1.0 - scale))[None], jnp.arctanh(centre)])
  return latents._replace(z_where=latents.z_where.at[which].set(raw))
