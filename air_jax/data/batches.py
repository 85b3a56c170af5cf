"""How training is fed: batches from memory, or composed on the device inside the step.

Which scenes make up the batch of a step is a function of the seed and the step alone, so that a run
that resumes goes on with the very batches it would have had.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from air_jax.data import composition as scenes_lib

# Neighbouring scenes that are drawn together: a stream reads them at the price of one. Composed
# scenes are independent, so that neighbours are as good a sample as any.
BLOCK = 16


class Feed(NamedTuple):
  """A source of batches. `fetch` is pure and runs inside the jitted step."""

  fetch: Callable  # data, what is drawn for one step -> [B, H, W, C] uint8, [B] counts or None
  data: Any  # arrays on the device
  draw: Callable  # seed, first step, number of steps -> arrays with a leading [steps]
  close: Callable = lambda: None  # lets go of what it holds


def resident(scenes, batch_size, block=1, share=slice(None)):
  """Batches of scenes that all lie on the device.

  Args:
    scenes: `LabelledScenes`.
    batch_size: B.
    block: see `batch_indices`.
    share: slice of [B] to draw, where other processes draw the rest.

  Returns:
    `Feed`.
  """
  counts = jnp.asarray(scenes.counts) if (scenes.counts >= 0).all() else None
  size = len(scenes.images)

  def draw(seed, start, steps):
    batches = [batch_indices(seed, start + i, batch_size, size, block) for i in range(steps)]
    return np.stack(batches)[:, share]

  return Feed(_gather, (jnp.asarray(scenes.images), counts), draw)


def online(config, glyphs, batch_size):
  """Batches of scenes composed for them, none seen twice.

  Args:
    config: `DataConfig`.
    glyphs: `Glyphs` of the training split; None for shapes.
    batch_size: B.

  Returns:
    `Feed`.

  Raises:
    UserError: the objects do not fit on the canvas.
  """
  next(scenes_lib.compose(config, glyphs, 'train', 0, batch_size))  # a jitted step cannot refuse
  recipe = scenes_lib.recipe(config)
  split_key = scenes_lib.split_key(config, 'train')

  def compose(glyphs, drawn):
    seed, step = drawn
    key = jax.random.fold_in(split_key, seed)
    keys = jax.random.split(jax.random.fold_in(key, step), batch_size)
    scenes, _ = jax.vmap(lambda key: scenes_lib.compose_one(recipe, glyphs, key))(keys)
    return scenes.images, scenes.counts

  def draw(seed, start, steps):
    return np.full(steps, seed, np.uint32), np.arange(start, start + steps)

  return Feed(compose, jax.tree.map(jnp.asarray, glyphs), draw)


def batch_indices(seed, step, batch_size, size, block=1):
  """The scenes of a step's batch, drawn with replacement, in blocks of neighbours.

  Args:
    seed: of the run.
    step: the step.
    batch_size: B.
    size: number of scenes.
    block: scenes that are drawn together; the last block is filled up with the first scenes.

  Returns:
    [B] int32 in [0, size).
  """
  blocks = batch_blocks(seed, step, batch_size, size, block)
  chosen = block * blocks[:, None] + np.arange(block, dtype=np.int32)
  return chosen.ravel()[:batch_size] % size


def batch_blocks(seed, step, batch_size, size, block):
  """The blocks of scenes that `batch_indices` draws, [ceil(B / block)] int32."""
  generator = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, step]))
  return generator.integers(0, -(-size // block), -(-batch_size // block), np.int32)


def _gather(data, chosen):
  images, counts = data
  return images[chosen], None if counts is None else counts[chosen]
