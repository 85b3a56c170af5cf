"""Composition of scenes: objects placed on a canvas by one of four rules, over a background.

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

The count is sampled first, uniformly. Objects are placed one after another, each with as many
tries as it needs. If one finds no place, the scene starts again with the same count, so refusals
do not make full scenes rarer. Scene i is a function of the configuration, the split and i alone.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt16

from air_jax.config.sections import DataConfig, Recipe
from air_jax.data import backgrounds, memory, objects
from air_jax.data import glyphs as glyphs_lib
from air_jax.data.glyphs import Glyphs
from air_jax.errors import UserError
from air_jax.runtime import jit
from air_jax.types import LabelledScenes

VERSION = 4  # of the composition; raise it when the same arguments give others, or other fields
SPLITS = ('train', 'test')  # a split's position seeds its scenes
_BATCH = 64  # scenes composed at once: all wait for the one that needs most tries
_TRIES = 100  # places tried for an object
_ATTEMPTS = 50  # at a scene, before its canvas is called too small
_VISIBLE = 64  # least ink by which a pixel belongs to an object
_LEAST_SHOWN = 0.25  # of the ink of an object that others hide


def recipe(config: DataConfig) -> Recipe:
  """The part of a configuration that decides a scene, beside the glyphs and the seed."""
  return Recipe(*(getattr(config, field.name) for field in dataclasses.fields(Recipe)))


def split_key(config: DataConfig, split: str) -> PRNGKeyArray:
  """The key of a split's scenes; scene i is composed with `fold_in(key, i)`."""
  return jax.random.fold_in(jax.random.key(config.seed), SPLITS.index(split))


def compose(
  config: DataConfig, glyphs: Glyphs | None, split: str, start: int, stop: int
) -> Iterator[LabelledScenes]:
  """Composes scenes start .. stop - 1 of a split, on the host.

  Args:
    config: section `data`.
    glyphs: of the split; None for shapes.
    split: 'train' or 'test'.
    start: first scene.
    stop: the one after the last.

  Yields:
    scenes as NumPy arrays, at most 64 at a time.

  Raises:
    UserError: the objects do not fit on the canvas, or both do not fit in memory.
  """
  memory.check_batch(config, _BATCH)
  compose_batch = functools.partial(_compose_batch, recipe(config))
  with jax.default_device(jax.local_devices(backend='cpu')[0]):
    glyphs = glyphs and jax.tree.map(jnp.asarray, glyphs_lib.pad(glyphs))
    key = split_key(config, split)
    for begin in range(start, stop, _BATCH):
      numbers = begin + np.arange(_BATCH)
      scenes, placed = compose_batch(glyphs, key, numbers, 1)
      scenes = LabelledScenes(*(np.array(field)[: stop - begin] for field in scenes))
      # The few that need another attempt are composed apart: a batch runs until its last is done.
      left = np.flatnonzero(~np.asarray(placed)[: stop - begin])
      if len(left):
        again, placed = compose_batch(glyphs, key, numbers[np.resize(left, _BATCH)], _ATTEMPTS)
        if not placed.all():
          which = 'counts' if config.counts else 'max_objects'
          raise UserError(
            f'data.{which}={getattr(config, which)} {config.layout} objects do not fit on '
            f'data.canvas_size={config.canvas_size}; take fewer or smaller objects or a larger '
            'canvas'
          )
        for field, values in zip(scenes, again, strict=True):
          field[left] = values[: len(left)]
      yield scenes


@jit.quick(static_argnums=0)
def _compose_batch(
  recipe: Recipe,
  glyphs: Glyphs | None,
  key: PRNGKeyArray,
  numbers: Int[Array, ' B'],
  attempts: Int[Array, ''],
) -> tuple[LabelledScenes, Bool[Array, ' B']]:
  keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers)
  return jax.vmap(lambda key: compose_one(recipe, glyphs, key, attempts))(keys)


def compose_one(
  config: Recipe,
  glyphs: Glyphs | None,
  key: PRNGKeyArray,
  attempts: Int[Array, ''] | int = _ATTEMPTS,
) -> tuple[LabelledScenes, Bool[Array, '']]:
  """Composes a scene; pure, to be vmapped and jitted anywhere.

  Args:
    config: what decides a scene.
    glyphs: as JAX arrays; None for shapes.
    key: consumed.
    attempts: number of times it may start, at least 1.

  Returns:
    (scene without the leading [B], whether all its objects found places).
  """
  count_key, object_key, background_key, noise_key = jax.random.split(key, 4)
  counts = jnp.array(config.drawn_counts)
  count = counts[jax.random.randint(count_key, (), 0, len(counts))]

  def attempt(number: Array) -> _Attempt:
    sample_key, place_key = jax.random.split(jax.random.fold_in(object_key, number))
    sampled = objects.sample(config, glyphs, sample_key)
    return _Attempt(sampled, *_place(config, sampled, count, place_key))

  nothing = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(attempt, jnp.array(0))
  )
  _, tried = jax.lax.while_loop(
    lambda carry: ~carry[1].placed & (carry[0] < attempts),
    lambda carry: (carry[0] + 1, attempt(carry[0])),
    (jnp.array(0), nothing),
  )
  background = 255 * backgrounds.sample(
    config.background, background_key, config.canvas_size, len(tried.colour)
  )
  image = background * (1 - tried.ink[..., None] / 255) + jnp.moveaxis(tried.colour, 0, -1)
  if config.noise:
    image += 255 * config.noise * jax.random.normal(noise_key, image.shape)
  sampled, present = tried.sampled, jnp.arange(config.most_objects) < count
  offsets, sizes = jax.vmap(objects.ink_bounds)(sampled.ink)
  boxes = jnp.concatenate([tried.corners - sampled.anchors + offsets, sizes], -1)
  scene = LabelledScenes(
    images=jnp.clip(jnp.round(image), 0, 255).astype(jnp.uint8),
    counts=count,
    boxes=jnp.where(present[:, None], boxes, 0).astype(jnp.float32),
    labels=jnp.where(present, sampled.labels, -1),
    scales=jnp.where(present, sampled.scales, 0),
    rotations=jnp.where(present, sampled.rotations, 0),
    segments=tried.segments,
  )
  return scene, tried.placed


class _Attempt(NamedTuple):
  """Objects, and the result of placing them."""

  sampled: objects.Objects
  corners: Int[Array, 'N 2']
  ink: Float[Array, 'H W']  # in 0..255, what is visible of all objects
  colour: Float[Array, 'C H W']  # that ink in the colours of its objects
  segments: UInt16[Array, 'H W']  # as in `LabelledScenes`: the object with the most ink
  placed: Bool[Array, '']  # whether all found places


def _place(
  config: Recipe, sampled: objects.Objects, count: Int[Array, ''], key: PRNGKeyArray
) -> tuple[Array, Array, Array, Array, Array]:
  """Places the first `count` objects, one after another: the further fields of `_Attempt`."""
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
      lambda state: ~state[-1] & (state[0] < _TRIES), attempt, (0, corners[k], ~needed)
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
      blank + _VISIBLE - 1,
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
  return (ink * (1 - before / 255)).sum() < _LEAST_SHOWN * ink.sum()


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
