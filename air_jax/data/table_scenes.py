"""Scenes of solids on a table, by `air_jax.scene3d` with exact edges.

Kinds, sizes, rotations about the vertical and places are uniform. The circles around the feet of
two objects do not overlap, and all lie on the table. Each object is visible by a quarter at least
of what it covers by itself.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from air_jax import scene3d
from air_jax.config.constraints import TABLES
from air_jax.config.sections import Recipe
from air_jax.data import layouts, objects
from air_jax.data.glyphs import Glyphs
from air_jax.data.layouts import Arranged

# The kinds of solid of each source.
SOURCES: dict[str, tuple[str, ...]] = dict(zip(TABLES, (scene3d.KINDS,), strict=True))
_FINE = 2  # rays through a pixel, by row and by column


def arrange(
  config: Recipe, glyphs: Glyphs | None, count: Int[Array, ''], key: PRNGKeyArray
) -> Arranged:
  """Samples objects and tries to place the first `count` of them, as `layouts.arrange` does.

  Args:
    config: what decides a scene.
    glyphs: not used.
    count: number of objects.
    key: consumed.
  """
  del glyphs
  kind_key, scale_key, turn_key, colour_key, place_key = jax.random.split(key, 5)
  shape = (config.most_objects,)
  kinds = jax.random.randint(kind_key, shape, 0, len(SOURCES[config.source]))
  scales = jax.random.uniform(scale_key, shape, minval=config.min_scale, maxval=config.max_scale)
  rotations = jax.random.uniform(turn_key, shape, maxval=2 * jnp.pi)
  radii = scene3d.foot_radius(kinds, scene3d.SIZE * scales)
  places, placed = _place(radii, count, place_key)
  colours = objects.sample_colours(config, colour_key)
  solids = scene3d.Solids(kinds, places, rotations, scene3d.SIZE * scales, colours)
  present = jnp.arange(config.most_objects) < count
  return _render(config, solids, present, placed)._replace(scales=scales)


def table_side(config: Recipe) -> int:
  """Side in pixels of the pictures that are rendered of each object."""
  return _FINE * config.canvas_size


def _place(
  radii: Float[Array, ' N'], count: Int[Array, ''], key: PRNGKeyArray
) -> tuple[Float[Array, 'N 2'], Bool[Array, '']]:
  """Places the first `count` circles on the table; whether all found places."""
  room = 1.0 - radii

  def place_next(carry, k):
    places, placed = carry
    needed = placed & (k < count)

    def attempt(state):
      tries, *_ = state
      try_key = jax.random.fold_in(jax.random.fold_in(key, k), tries)
      place = room[k] * jax.random.uniform(try_key, (2,), minval=-1.0)
      near = jnp.linalg.norm(places - place, axis=-1) < radii + radii[k]
      free = (room[k] >= 0) & ~(near & (jnp.arange(len(radii)) < k)).any()
      return tries + 1, place, free

    _, place, free = jax.lax.while_loop(
      lambda state: ~state[-1] & (state[0] < layouts.TRIES), attempt, (0, places[k], ~needed)
    )
    return (places.at[k].set(place), placed & free), None

  start = jnp.zeros((len(radii), 2)), jnp.array(True)
  return jax.lax.scan(place_next, start, jnp.arange(len(radii)))[0]


def _render(
  config: Recipe, solids: scene3d.Solids, present: Bool[Array, ' N'], placed: Bool[Array, '']
) -> Arranged:
  """The objects that are present as the composition needs them; scales are sizes."""
  view = scene3d.View(table_side(config), softness=0.0)
  layers = jax.vmap(functools.partial(scene3d.cast, view=view))(*solids[:4])
  coverages = layers.coverage * present[:, None, None]
  visible = scene3d.visible(coverages, scene3d.back_to_front(solids))
  lit = _coarse(visible * layers.brightness)
  ink = 255 * _coarse(visible)
  whole = jnp.round(255 * _coarse(coverages))
  corners, sizes = jax.vmap(objects.ink_bounds)(whole)
  enough = ink.sum((1, 2)) >= layouts.LEAST_SHOWN * whole.sum((1, 2))
  most = jnp.where(ink.max(0) >= layouts.VISIBLE, ink.argmax(0) + 1, 0)
  return Arranged(
    ink=ink.sum(0),
    colour=255 * jnp.einsum('nhw,nc->chw', lit, solids.colours),
    segments=most.astype(jnp.uint16),
    placed=placed & (enough | ~present).all(),
    boxes=jnp.concatenate([corners, sizes], -1),
    labels=solids.kinds,
    scales=solids.sizes,
    rotations=solids.rotations,
    places=solids.places,
  )


def _coarse(fine: Float[Array, '... fH fW']) -> Float[Array, '... H W']:
  """The mean over the rays of each pixel."""
  steps = range(_FINE)  # much faster than a mean over axes of this length
  parts = [fine[..., i::_FINE, j::_FINE] for i in steps for j in steps]
  return functools.reduce(jnp.add, parts) / _FINE**2
