"""Composition of scenes: objects placed on a canvas (layouts.py) or a table, over a background.

The count is sampled first, uniformly. Objects are placed one after another, each with as many
tries as it needs. If one finds no place, the scene starts again with the same count, so refusals
do not make full scenes rarer. Scene i is a function of the configuration, the split and i alone.
"""

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from air_jax.config.sections import DataConfig, Recipe
from air_jax.data import backgrounds, layouts, memory, table_scenes
from air_jax.data import glyphs as glyphs_lib
from air_jax.data.glyphs import Glyphs
from air_jax.data.layouts import Arranged
from air_jax.errors import UserError
from air_jax.runtime import jit
from air_jax.types import LabelledScenes

VERSION = 5  # of the composition; raise it when the same arguments give others, or other fields
SPLITS = ('train', 'test')  # a split's position seeds its scenes
_BATCH = 64  # scenes composed at once: all wait for the one that needs most tries
_ATTEMPTS = 50  # at a scene, before its canvas is called too small


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
        again, placed = jax.device_get(
          compose_batch(glyphs, key, numbers[np.resize(left, _BATCH)], _ATTEMPTS)
        )
        if not placed.all():
          which = 'counts' if config.counts else 'max_objects'
          space, larger = f'data.canvas_size={config.canvas_size}', ' or a larger canvas'
          if config.source in table_scenes.SOURCES:
            space, larger = 'the table', ''
          raise UserError(
            f'data.{which}={getattr(config, which)} {config.layout} objects do not fit on {space}; '
            f'take fewer or smaller objects{larger}'
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

  arrange = table_scenes.arrange if config.source in table_scenes.SOURCES else layouts.arrange

  def attempt(number: Array) -> Arranged:
    return arrange(config, glyphs, count, jax.random.fold_in(object_key, number))

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
  present = jnp.arange(config.most_objects) < count
  scene = LabelledScenes(
    images=jnp.clip(jnp.round(image), 0, 255).astype(jnp.uint8),
    counts=count,
    boxes=jnp.where(present[:, None], tried.boxes, 0).astype(jnp.float32),
    labels=jnp.where(present, tried.labels, -1),
    scales=jnp.where(present, tried.scales, 0),
    rotations=jnp.where(present, tried.rotations, 0),
    segments=tried.segments,
    places=jnp.where(present[:, None], tried.places, 0),
  )
  return scene, tried.placed
