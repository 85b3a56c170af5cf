"""How scenes are composed: objects placed on a canvas by one of two rules, over a background.

Two data sets go by the name of multi-MNIST, and figures on one say nothing about the other:

* `disjoint` (A. Kosiorek): digits cropped to their bounding boxes, at native size; no two boxes
  overlap.
* `touching` (Pyro, GenJAX): digits with their border, shrunk by a factor drawn from N(1.3, 0.1);
  refused only where the ink of two adds up to more than 255 in some pixel. Some of these scenes are
  truly ambiguous.

The count is drawn first, evenly. Objects find their places one after another, each as often as it
takes; if one cannot, the scene begins anew with the same count, so that refusals do not thin out
the fuller scenes. Scene i is a function of the configuration, the split and i alone.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from air_jax.config.schema import Recipe
from air_jax.data import backgrounds, objects
from air_jax.errors import UserError
from air_jax.types import LabelledScenes

VERSION = 3  # of the composition: raise it when the same arguments give other scenes
SPLITS = ('train', 'test')  # the position of a split seeds its scenes
_BATCH = 256  # scenes composed at once; larger arrays cost page faults at every turn
_FEW = 32  # scenes at once, of those that need another attempt
_TRIES = 100  # places tried for an object
_FRESH_STARTS = 50  # of a scene, before its canvas is called too small


def recipe(config):
  """The `Recipe` of a `DataConfig`."""
  return Recipe(*(getattr(config, field.name) for field in dataclasses.fields(Recipe)))


def split_key(config, split):
  """The key of a split's scenes; scene i is composed with `fold_in(key, i)`."""
  return jax.random.fold_in(jax.random.key(config.seed), SPLITS.index(split))


def compose(config, glyphs, split, start, stop):
  """Composes scenes start .. stop of a split, on the host.

  Args:
    config: `DataConfig`.
    glyphs: `Glyphs` of the split; None for shapes.
    split: 'train' or 'test'.
    start: first scene.
    stop: the one after the last.

  Yields:
    `LabelledScenes` of NumPy arrays, at most 256 at a time.

  Raises:
    UserError: the objects do not fit on the canvas.
  """
  compose_batch = functools.partial(_compose_batch, recipe(config))
  with jax.default_device(jax.local_devices(backend='cpu')[0]):
    glyphs, key = jax.tree.map(jnp.asarray, glyphs), split_key(config, split)
    for begin in range(start, stop, _BATCH):
      numbers = begin + np.arange(_BATCH)
      scenes, placed = compose_batch(glyphs, key, numbers, attempts=1)
      scenes = LabelledScenes(*(np.array(field)[: stop - begin] for field in scenes))
      # The few that need another attempt are seen to apart: a batch goes on until its last is done.
      left = np.flatnonzero(~np.asarray(placed)[: stop - begin])
      for these in (left[i : i + _FEW] for i in range(0, len(left), _FEW)):
        again, placed = compose_batch(
          glyphs, key, numbers[np.resize(these, _FEW)], attempts=_FRESH_STARTS
        )
        if not placed.all():
          raise UserError(
            f'data.max_objects={config.max_objects} {config.layout} objects do not fit on '
            f'data.canvas_size={config.canvas_size}; take fewer or smaller objects or a larger '
            'canvas'
          )
        for field, values in zip(scenes, again, strict=True):
          field[these] = values[: len(these)]
      yield scenes


@functools.partial(jax.jit, static_argnums=0, static_argnames='attempts')
def _compose_batch(recipe, glyphs, key, numbers, attempts):
  keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers)
  return jax.vmap(lambda key: compose_one(recipe, glyphs, key, attempts))(keys)


def compose_one(config, glyphs, key, attempts=_FRESH_STARTS):
  """Composes a scene: pure, so that it can be vmapped and jitted anywhere.

  Args:
    config: `Recipe`.
    glyphs: `Glyphs` as JAX arrays; None for shapes.
    key: consumed.
    attempts: how often it may begin.

  Returns:
    (`LabelledScenes` without the leading [B], [] whether its objects found places).
  """
  count_key, object_key, background_key, noise_key = jax.random.split(key, 4)
  count = jax.random.randint(count_key, (), config.min_objects, config.max_objects + 1)

  def attempt(number):
    draw_key, place_key = jax.random.split(jax.random.fold_in(object_key, number))
    drawn = objects.draw(config, glyphs, draw_key)
    return _Attempt(drawn, *_place(config, drawn, count, place_key))

  tried = attempt(0)
  if attempts > 1:
    _, tried = jax.lax.while_loop(
      lambda carry: ~carry[1].placed & (carry[0] < attempts),
      lambda carry: (carry[0] + 1, attempt(carry[0])),
      (1, tried),
    )
  background = 255 * backgrounds.draw(
    config.background, background_key, config.canvas_size, len(tried.colour)
  )
  image = background * (1 - tried.ink[..., None] / 255) + jnp.moveaxis(tried.colour, 0, -1)
  if config.noise:
    image += 255 * config.noise * jax.random.normal(noise_key, image.shape)
  drawn, present = tried.drawn, jnp.arange(config.max_objects) < count
  offsets, sizes = jax.vmap(objects.ink_bounds)(drawn.ink)
  boxes = jnp.concatenate([tried.corners - drawn.anchors + offsets, sizes], -1)
  scene = LabelledScenes(
    images=jnp.clip(jnp.round(image), 0, 255).astype(jnp.uint8),
    counts=count,
    boxes=jnp.where(present[:, None], boxes, 0).astype(jnp.float32),
    labels=jnp.where(present, drawn.labels, -1),
    scales=jnp.where(present, drawn.scales, 0),
    rotations=jnp.where(present, drawn.rotations, 0),
  )
  return scene, tried.placed


class _Attempt(NamedTuple):
  """Objects, and what came of placing them."""

  drawn: objects.Objects
  corners: jax.Array  # [N, 2]
  ink: jax.Array  # [H, W] in 0..255
  colour: jax.Array  # [C, H, W], the same coloured
  placed: jax.Array  # [] whether all found places


def _place(config, drawn, count, key):
  """Finds places for the first `count` objects, one after another: the fields of `_Attempt`."""
  size, collides = config.canvas_size, _COLLISIONS[config.layout]

  def place_next(carry, k):
    corners, ink, colour, placed = carry
    needed = placed & (k < count)
    bordered = jnp.pad(ink, drawn.ink.shape[-1])

    def attempt(state):
      tries, *_ = state
      try_key = jax.random.fold_in(jax.random.fold_in(key, k), tries)
      corner = jax.random.randint(try_key, (2,), 0, size - drawn.extents[k] + 1)
      # An object larger than the canvas has no place.
      free = (drawn.extents[k] <= size).all() & ~collides(drawn, corners, bordered, k, corner)
      return tries + 1, corner, free

    _, corner, free = jax.lax.while_loop(
      lambda state: ~state[-1] & (state[0] < _TRIES), attempt, (0, corners[k], ~needed)
    )
    painted = needed * _shift(drawn.ink[k], corner - drawn.anchors[k], size)
    corners = corners.at[k].set(corner)
    colour += painted * drawn.colours[k][:, None, None]
    return (corners, ink + painted, colour, placed & free), None

  blank = jnp.zeros((size, size))
  blank_colour = jnp.zeros((drawn.colours.shape[-1], size, size))
  nothing = jnp.zeros_like(drawn.anchors), blank, blank_colour, jnp.array(True)
  return jax.lax.scan(place_next, nothing, jnp.arange(config.max_objects))[0]


def _boxes_overlap(drawn, corners, bordered, k, corner):
  """Whether object k's box, put at a corner, shares a pixel with that of an earlier object."""
  del bordered
  apart = (corner + drawn.extents[k] <= corners) | (corners + drawn.extents <= corner)
  earlier = jnp.arange(len(corners)) < k
  return (earlier & ~apart.any(-1)).any()


def _ink_exceeds(drawn, corners, bordered, k, corner):
  """Whether object k's ink, put at a corner, adds up with what is there to more than 255."""
  del corners
  picture = drawn.ink[k]
  below = jax.lax.dynamic_slice(bordered, corner - drawn.anchors[k] + len(picture), picture.shape)
  return (below + picture).max() > 255


_COLLISIONS = {'disjoint': _boxes_overlap, 'touching': _ink_exceeds}


def _shift(picture, corner, size):
  """Puts [s, s] at a corner of a blank [size, size]; what reaches beyond is cut off."""
  return jax.lax.dynamic_slice(jnp.pad(picture, size), size - corner, (size, size))
