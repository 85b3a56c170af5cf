"""Rules by which objects are placed on a canvas: `data.layout`.

Two data sets are called multi-MNIST, and results on one say nothing about the other:

* `disjoint` (A. Kosiorek): digits cropped to their bounding boxes, at native size; no two boxes
  overlap.
* `touching` (Pyro, GenJAX): digits with their border, shrunk by a factor from N(1.3, 0.1); a place
  is refused only where the ink of two digits adds up to more than 255 in some pixel. Some of these
  scenes are truly ambiguous.

Two more are those of published sets of coloured shapes:

* `adjacent`: at native size; a place is refused where a pixel has ink already.
* `occluding`: each object hides those placed after it; a place is refused where less than a quarter
  of its own ink would be visible.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt16

from air_jax.config.sections import Recipe
from air_jax.data import objects
from air_jax.data.glyphs import Glyphs

TRIES = 100  # places tried for an object
VISIBLE = 64  # least ink by which a pixel belongs to an object
LEAST_SHOWN = 0.25  # of the ink of an object that others hide


class Arranged(NamedTuple):
  """Objects, where they were placed, and what is visible; the first `count` rows are used."""

  ink: Float[Array, 'H W']  # in 0..255, what is visible of all objects
  colour: Float[Array, 'C H W']  # that ink in the colours of its objects
  segments: UInt16[Array, 'H W']  # as in `LabelledScenes`: the object with the most ink
  placed: Bool[Array, '']  # whether all found places
  # As in `LabelledScenes`
  boxes: Float[Array, 'N 4']
  labels: Int[Array, ' N']
  scales: Float[Array, ' N']
  rotations: Float[Array, ' N']
  places: Float[Array, 'N 2']


def arrange(
  config: Recipe, glyphs: Glyphs | None, count: Int[Array, ''], key: PRNGKeyArray
) -> Arranged:
  """Samples objects and tries to place the first `count` of them.

  Args:
    config: what decides a scene.
    glyphs: as JAX arrays; None for shapes.
    count: number of objects.
    key: consumed.
  """
  sample_key, place_key = jax.random.split(key)
  sampled = objects.sample(config, glyphs, sample_key)
  corners, ink, colour, segments, placed = _place(config, sampled, count, place_key)
  offsets, sizes = jax.vmap(objects.ink_bounds)(sampled.ink)
  return Arranged(
    ink=ink,
    colour=colour,
    segments=segments,
    placed=placed,
    boxes=jnp.concatenate([corners - sampled.anchors + offsets, sizes], -1),
    labels=sampled.labels,
    scales=sampled.scales,
    rotations=sampled.rotations,
    places=jnp.zeros((len(sampled.labels), 2)),
  )


def _place(
  config: Recipe, sampled: objects.Objects, count: Int[Array, ''], key: PRNGKeyArray
) -> tuple[Array, Array, Array, Array, Array]:
  """Places the first `count` objects, one after another: corners, then as in `Arranged`."""
  size, collides = config.canvas_size, _COLLISIONS[config.layout]

  def place_next(carry, k):
    corners, ink, most, colour, segments, placed = carry
    needed = placed & (k < count)
    bordered = jnp.pad(ink, sampled.ink.shape[-1])

    def attempt(state):
      tries, *_ = state
      try_key = jax.random.fold_in(jax.random.fold_in(key, k), tries)
      corner = jax.random.randint(try_key, (2,), 0, size - sampled.extents[k] + 1)
      # An object larger than the canvas has no place.
      free = (sampled.extents[k] <= size).all() & ~collides(sampled, corners, bordered, k, corner)
      return tries + 1, corner, free

    _, corner, free = jax.lax.while_loop(
      lambda state: ~state[-1] & (state[0] < TRIES), attempt, (0, corners[k], ~needed)
    )
    painted = needed * _shift(sampled.ink[k], corner - sampled.anchors[k], size)
    if config.layout == 'occluding':
      painted *= 1 - ink / 255
    corners = corners.at[k].set(corner)
    colour += painted * sampled.colours[k][:, None, None]
    segments = jnp.where(painted > most, k + 1, segments).astype(jnp.uint16)
    most = jnp.maximum(most, painted)
    return (corners, ink + painted, most, colour, segments, placed & free), None

  blank = jnp.zeros((size, size))
  blank_colour = jnp.zeros((sampled.colours.shape[-1], size, size))
  corners, ink, _, colour, segments, placed = jax.lax.scan(
    place_next,
    (
      jnp.zeros_like(sampled.anchors),
      blank,
      blank + VISIBLE - 1,
      blank_colour,
      blank.astype(jnp.uint16),
      jnp.array(True),
    ),
    jnp.arange(config.most_objects),
  )[0]
  return corners, ink, colour, segments, placed


def _boxes_overlap(
  sampled: objects.Objects, corners: Array, bordered: Array, k: Array, corner: Array
) -> Bool[Array, '']:
  """Whether object k's box, put at a corner, shares a pixel with that of an earlier object."""
  del bordered
  apart = (corner + sampled.extents[k] <= corners) | (corners + sampled.extents <= corner)
  earlier = jnp.arange(len(corners)) < k
  return (earlier & ~apart.any(-1)).any()


def _ink_overlaps(
  sampled: objects.Objects, corners: Array, bordered: Array, k: Array, corner: Array
) -> Bool[Array, '']:
  """Whether object k, put at a corner, shares a pixel of ink with an earlier object."""
  del corners
  return ((sampled.ink[k] > 0) & (_ink_at(sampled, bordered, k, corner) > 0)).any()


def _ink_exceeds(
  sampled: objects.Objects, corners: Array, bordered: Array, k: Array, corner: Array
) -> Bool[Array, '']:
  """Whether object k's ink, put at a corner, adds up with the ink there to more than 255."""
  del corners
  return (sampled.ink[k] + _ink_at(sampled, bordered, k, corner)).max() > 255


def _is_hidden(
  sampled: objects.Objects, corners: Array, bordered: Array, k: Array, corner: Array
) -> Bool[Array, '']:
  """Whether too little of object k's ink, put at a corner, is visible behind earlier objects."""
  del corners
  ink, before = sampled.ink[k], _ink_at(sampled, bordered, k, corner)
  return (ink * (1 - before / 255)).sum() < LEAST_SHOWN * ink.sum()


def _ink_at(sampled: objects.Objects, bordered: Array, k: Array, corner: Array) -> Array:
  """The ink of earlier objects at the pixels of object k's image, put at a corner."""
  shape = sampled.ink.shape[1:]
  return jax.lax.dynamic_slice(bordered, corner - sampled.anchors[k] + shape[0], shape)


_COLLISIONS = {
  'disjoint': _boxes_overlap,
  'adjacent': _ink_overlaps,
  'touching': _ink_exceeds,
  'occluding': _is_hidden,
}


def _shift(ink: Float[Array, 's s'], corner: Int[Array, '2'], size: int) -> Float[Array, 'H W']:
  """Puts ink at a corner of a blank canvas; what reaches beyond is cut off."""
  return jax.lax.dynamic_slice(jnp.pad(ink, size), size - corner, (size, size))
