"""Sources of training batches: scenes in memory, or scenes composed on the device.

The scenes of a step's batch are a function of the seed and the training step alone, so a resumed
run continues with exactly the batches it would have had.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Int32, UInt8, UInt32

from air_jax.config.sections import DataConfig
from air_jax.data import composition
from air_jax.data.glyphs import Glyphs
from air_jax.types import LabelledScenes

# Neighbouring scenes that are sampled together: a stream reads all of them at the price of one.
# Composed scenes are independent, so neighbours are as good a sample as any.
BLOCK = 16

# Images, and counts where they are known.
Batch = tuple[UInt8[Array | np.ndarray, 'B H W C'], Int[Array | np.ndarray, ' B'] | None]


class BatchSource(NamedTuple):
  """A source of batches. Step s trains on `gather(arrays, indices)`, indices those of step s."""

  gather: Callable[[Any, Any], Batch]  # pure, runs inside the jitted training step
  arrays: Any  # arrays on the device
  sample_indices: Callable[[int, int, int], Any]  # (seed, first step, steps) -> arrays [steps, ...]
  close: Callable[[], None] = lambda: None  # frees files and processes


def resident(
  scenes: LabelledScenes, batch_size: int, block: int = 1, shard: slice = slice(None)
) -> BatchSource:
  """Batches of scenes that are all on the device.

  Args:
    scenes: to sample from.
    batch_size: B.
    block: see `batch_indices`.
    shard: slice of [B] to take; other processes take the rest.
  """
  known = (scenes.counts >= 0).all()
  arrays = scenes.images, scenes.counts if known else None
  return _resident(jax.device_put(arrays), batch_size, block, shard)


def expected(config: DataConfig, batch_size: int, shard: slice = slice(None)) -> BatchSource:
  """What `resident` will give of composed scenes, with shapes in place of arrays."""
  size, side = config.train_scenes, config.canvas_size
  images = jax.ShapeDtypeStruct((size, side, side, 3 if config.colour else 1), jnp.uint8)
  counts = jax.ShapeDtypeStruct((size,), jnp.int32)
  return _resident((images, counts), batch_size, BLOCK, shard)


def _resident(arrays, batch_size, block, shard) -> BatchSource:
  size = len(arrays[0])

  def sample_indices(seed: int, start: int, steps: int) -> Int32[np.ndarray, 'steps shard']:
    batches = [batch_indices(seed, start + i, batch_size, size, block) for i in range(steps)]
    return np.stack(batches)[:, shard]

  return BatchSource(_gather, arrays, sample_indices)


def online(config: DataConfig, glyphs: Glyphs | None, batch_size: int) -> BatchSource:
  """Batches of scenes composed inside the training step, none of them seen twice.

  Args:
    config: section `data`.
    glyphs: of the training split; None for shapes.
    batch_size: B.

  Raises:
    UserError: the objects do not fit on the canvas.
  """
  next(composition.compose(config, glyphs, 'train', 0, batch_size))  # a jitted step cannot refuse
  recipe = composition.recipe(config)
  split_key = composition.split_key(config, 'train')

  def compose(glyphs: Glyphs | None, seed_and_step: tuple) -> Batch:
    seed, step = seed_and_step
    key = jax.random.fold_in(split_key, seed)
    keys = jax.random.split(jax.random.fold_in(key, step), batch_size)
    scenes, _ = jax.vmap(lambda key: composition.compose_one(recipe, glyphs, key))(keys)
    return scenes.images, scenes.counts

  return BatchSource(compose, jax.tree.map(jnp.asarray, glyphs), seed_and_step)


def seed_and_step(
  seed: int, start: int, steps: int
) -> tuple[UInt32[np.ndarray, ' steps'], Int[np.ndarray, ' steps']]:
  """The indices of batches that are made anew: the seed of the run, and the training step."""
  return np.full(steps, seed, np.uint32), np.arange(start, start + steps)


def batch_indices(
  seed: int, step: int, batch_size: int, size: int, block: int = 1
) -> Int32[np.ndarray, ' B']:
  """The scenes of a step's batch, in [0, size): blocks of neighbours, sampled with replacement.

  Args:
    seed: of the run.
    step: training step.
    batch_size: B.
    size: number of scenes.
    block: number of neighbours; the last block is filled up with the first scenes.
  """
  blocks = batch_blocks(seed, step, batch_size, size, block)
  chosen = block * blocks[:, None] + np.arange(block, dtype=np.int32)
  return chosen.ravel()[:batch_size] % size


def batch_blocks(
  seed: int, step: int, batch_size: int, size: int, block: int
) -> Int32[np.ndarray, ' M']:
  """The M = ceil(B / block) blocks that `batch_indices` takes."""
  generator = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, step]))
  return generator.integers(0, -(-size // block), -(-batch_size // block), np.int32)


def _gather(arrays: tuple[Array, Array | None], indices: Int32[Array, ' B']) -> Batch:
  images, counts = arrays
  return images[indices], None if counts is None else counts[indices]
