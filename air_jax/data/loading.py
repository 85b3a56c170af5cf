"""The scenes and batches of a configuration, and scenes from arrays in memory."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from absl import logging
from jaxtyping import ArrayLike, Int, UInt8

from air_jax.config.sections import DataConfig
from air_jax.data import batches, crops, image_folder, scene_cache, sources
from air_jax.errors import UserError
from air_jax.runtime import extras
from air_jax.types import LabelledScenes

_FEW = 50  # images, fewer than which are memorised rather than explained


class Split(NamedTuple):
  """Scenes to train on, and held-out ones."""

  train: LabelledScenes
  test: LabelledScenes


def load(config: DataConfig, split: str) -> LabelledScenes:
  """Loads the scenes of a split, 'train' or 'test'; the splits share no glyph and no file.

  Raises:
    UserError: glyphs or images cannot be had, or do not fit on the canvas.
  """
  found = sources.read(config, split)
  if isinstance(found, crops.Pieces):
    images = crops.held_out(found, config)
    return image_folder.unlabelled(images, np.full(len(images), -1, np.int32))
  return found if isinstance(found, LabelledScenes) else scene_cache.load(config, found, split)


def resolve(config: DataConfig) -> DataConfig:
  """Replaces what is measured from the training images by its value: `data.levels`, if stretched.

  Raises:
    UserError: as `load`.
  """
  return image_folder.resolve(config) if config.source == 'folder' else config


def batch_source(
  config: DataConfig, batch_size: int, shard: slice = slice(None)
) -> batches.BatchSource:
  """The training batches of a configuration.

  Args:
    config: section `data`.
    batch_size: B.
    shard: slice of [B] that this process needs; other processes take the rest.

  Raises:
    UserError: as `load`.
  """
  found = sources.read(config, 'train')
  if isinstance(found, (LabelledScenes, crops.Pieces)):
    if config.online or config.reading == 'stream':
      key = 'online=True' if config.online else "reading='stream'"
      raise UserError(
        f'data.{key} is not allowed with data.source={config.source!r}: it needs scenes that are '
        'composed, and these are given'
      )
    if isinstance(found, crops.Pieces):
      return crops.source(found, config, batch_size)
    return batches.resident(found, batch_size, shard=shard)  # neighbours may be alike: no blocks
  if config.online:
    return batches.online(config, found, batch_size)
  if _is_streamed(config):
    with extras.needed('data', "data.reading='stream'"):
      from air_jax.data import streams, tfds_builders  # TFDS takes a second to import

    builder = tfds_builders.for_config(config)
    tfds_builders.prepare(builder)
    return streams.stream(builder, batch_size, config.workers, shard)
  scenes = scene_cache.load(config, found, 'train')
  return batches.resident(scenes, batch_size, batches.BLOCK, shard)


def expected_source(
  config: DataConfig, batch_size: int, shard: slice = slice(None)
) -> batches.BatchSource | None:
  """What `batch_source` will give, with shapes in place of arrays; loads nothing.

  None where shapes are known only once the scenes are loaded, and where they are not all on the
  device.
  """
  composed = config.source in sources.COMPOSED and not config.online and not _is_streamed(config)
  return batches.expected(config, batch_size, shard) if composed else None


def from_arrays(
  images: ArrayLike, counts: ArrayLike | None = None, test_fraction: float = 0.2, seed: int = 0
) -> Split:
  """Makes scenes of images in memory, and holds some of them out.

  Args:
    images: [B, S, S] or [B, S, S, C] with C = 1 or 3, uint8, or floats in [0, 1].
    counts: [B] whole numbers of objects, -1 where unknown; used for evaluation only.
    test_fraction: fraction of the images to hold out, in (0, 1); at least one of each split.
    seed: decides which.

  Raises:
    UserError: an argument has a wrong shape, type or value.
  """
  pixels = _pixels(images)
  size = len(pixels)
  if not 0 < test_fraction < 1:
    raise UserError(f'test_fraction={test_fraction} is not allowed; it must be in (0, 1)')
  if size < _FEW:
    logging.warning(
      '%d images are few: the model will memorise them, and what it finds in other images is '
      'unreliable; some hundreds are needed, and thousands are better',
      size,
    )
  scenes = image_folder.unlabelled(pixels, _counts(counts, size))
  order = np.random.default_rng(seed).permutation(size)
  test_size = min(max(1, round(test_fraction * size)), size - 1)
  train, test = np.sort(order[test_size:]), np.sort(order[:test_size])
  return Split(*(LabelledScenes(*(x[chosen] for x in scenes)) for chosen in (train, test)))


def _pixels(images: ArrayLike) -> UInt8[np.ndarray, 'B S S C']:
  """Images as `LabelledScenes` holds them; refuses what cannot be."""
  try:
    array = np.asarray(images)
  except ValueError as error:
    raise UserError('images holds arrays of several shapes; all must have the same') from error
  shape, square = list(array.shape), array.ndim in (3, 4) and array.shape[1] == array.shape[2]
  if not square or not all(shape) or (array.ndim == 4 and shape[3] not in (1, 3)):
    raise UserError(
      f'images has shape {shape}; it must be [B, S, S] or [B, S, S, C], square images with '
      'C = 1 or 3 and none of these 0'
    )
  if len(array) < 2:
    raise UserError('images holds one image; it must hold at least two, as one is held out')
  if array.dtype == np.uint8:
    if array.max() == 1:
      logging.warning('images is uint8 with no value above 1 of 255: its pixels are nearly black')
  elif jnp.issubdtype(array.dtype, jnp.floating):
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):  # also where they are NaN
      raise UserError(
        f'images is {array.dtype} with values in [{low}, {high}]; floats must be finite and in '
        '[0, 1]'
      )
    array = np.round(255 * array.astype(np.float32)).astype(np.uint8)
  else:
    raise UserError(f'images is of type {array.dtype}; it must be uint8, or floats in [0, 1]')
  return array.reshape(*array.shape[:3], -1)


def _counts(counts: ArrayLike | None, size: int) -> Int[np.ndarray, ' B']:
  if counts is None:
    return np.full(size, -1, np.int32)
  array = np.asarray(counts)
  if array.shape != (size,) or not np.issubdtype(array.dtype, np.integer):
    raise UserError(
      f'counts has shape {list(array.shape)} and type {array.dtype}; it must be [{size}] whole '
      'numbers, one for each image'
    )
  if array.min() < -1:
    raise UserError(f'counts holds {array.min()}; it must hold numbers >= 0, or -1 where unknown')
  return array.astype(np.int32)


def _is_streamed(config: DataConfig) -> bool:
  pixels = config.train_scenes * config.canvas_size**2 * (3 if config.colour else 1)
  fits = pixels <= config.resident_gb * 1e9
  return config.reading == 'stream' or (config.reading == 'auto' and not fits)
