"""Crops of large pictures: training batches cut on the device, and held-out crops.

Pictures are scaled once, so that an object of `data.object_pixels` becomes `OBJECT` of the canvas.
A few pictures must do, so every crop is turned, mirrored, and changed a little in size and
brightness.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8
from PIL import Image

from air_jax.config.sections import DataConfig
from air_jax.data import batches

OBJECT = 0.36  # of the canvas, the size of an object: it fills 0.85 of the default window
_HELD_OUT = 0.2  # of the longer side of a picture that is split
_PIECE = 8  # canvases, longest side of the pieces that pictures are cut into
_SIZES = 0.1  # greatest change of the logarithm of the size
_BRIGHTNESS = 0.1  # greatest change of that of the brightness
_TEST = 500  # held-out crops


class Pieces(NamedTuple):
  """N pieces of pictures, of one shape; what a piece does not fill is 0."""

  pixels: UInt8[Array | np.ndarray, 'N H W C']
  sizes: Int[Array | np.ndarray, 'N 2']  # (height, width) that is filled, at least a canvas
  shares: Float[Array | np.ndarray, ' N']  # cumulative share of all places of crops


def scale(config: DataConfig) -> float:
  """Pixels of the canvas for each pixel of a picture."""
  return OBJECT * config.canvas_size / config.object_pixels


def to_scale(picture: UInt8[np.ndarray, 'H W C'], config: DataConfig) -> UInt8[np.ndarray, 'h w C']:
  """A picture at the scale of crops; what shrinks is averaged."""
  ratio = scale(config)
  height, width = (max(1, round(side * ratio)) for side in picture.shape[:2])
  image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
  scaled = image.resize((width, height), Image.Resampling.BILINEAR)
  return np.asarray(scaled).reshape(height, width, -1)


def split(picture: UInt8[np.ndarray, 'H W C'], part: str) -> UInt8[np.ndarray, 'h w C']:
  """The part of a picture to train on, or the held-out one: the last fifth of its longer side."""
  axis = int(picture.shape[1] > picture.shape[0])
  border = round((1 - _HELD_OUT) * picture.shape[axis])
  kept = slice(border, None) if part == 'test' else slice(border)
  return picture[kept] if axis == 0 else picture[:, kept]


def cut(pictures: Sequence[UInt8[np.ndarray, '? ? C']], canvas_size: int) -> Pieces:
  """Cuts pictures at the scale of crops into pieces that overlap by a canvas.

  A side shorter than the canvas is filled up with its last pixels.
  """
  longest = _PIECE * canvas_size
  pieces = []
  for picture in pictures:
    missing = [max(0, canvas_size - side) for side in picture.shape[:2]]
    whole = np.pad(picture, [(0, missing[0]), (0, missing[1]), (0, 0)], 'edge')
    for rows in _spans(whole.shape[0], longest, canvas_size):
      for columns in _spans(whole.shape[1], longest, canvas_size):
        pieces.append(whole[rows, columns])
  sizes = np.array([piece.shape[:2] for piece in pieces], np.int32)
  pixels = np.zeros((len(pieces), *sizes.max(0), pieces[0].shape[2]), np.uint8)
  for to, piece in zip(pixels, pieces, strict=True):
    to[: piece.shape[0], : piece.shape[1]] = piece
  places = (sizes - canvas_size + 1.0).prod(-1).cumsum()
  return Pieces(pixels, sizes, (places / places[-1]).astype(np.float32))


def _spans(length: int, longest: int, overlap: int) -> list[slice]:
  """Spans that cover a side, of equal length at most `longest`, that overlap."""
  number = 1 if length <= longest else -(-(length - overlap) // (longest - overlap))
  if number == 1:
    return [slice(0, length)]
  starts = np.round(np.linspace(0, length - longest, number)).astype(int)
  return [slice(start, start + longest) for start in starts]


def random_crop(
  pieces: Pieces, canvas_size: int, key: PRNGKeyArray, change: bool = True
) -> UInt8[Array, 'S S C']:
  """A crop at a random place; pure, to be vmapped inside the training step.

  Args:
    pieces: as JAX arrays.
    canvas_size: S.
    key: consumed.
    change: whether it is turned, mirrored, and changed in size and brightness.
  """
  which, place_key, turn_key, size_key, bright_key = jax.random.split(key, 5)
  index = jnp.searchsorted(pieces.shares, jax.random.uniform(which))
  index = jnp.minimum(index, len(pieces.shares) - 1)
  room = pieces.sizes[index].astype(jnp.float32)
  side = jnp.float32(canvas_size)
  turn = jnp.eye(2)
  if change:
    side *= jnp.exp(jax.random.uniform(size_key, minval=-_SIZES, maxval=_SIZES))
    side = jnp.minimum(side, room.min())
    flips = jax.random.bernoulli(turn_key, shape=(3,))
    turn = jnp.diag(1.0 - 2.0 * flips[:2]) @ jnp.where(flips[2], jnp.eye(2)[::-1], jnp.eye(2))
  corner = jax.random.uniform(place_key, (2,)) * (room - side)
  steps = (jnp.arange(canvas_size) + 0.5) / canvas_size - 0.5
  grid = jnp.stack(jnp.meshgrid(steps, steps, indexing='ij'))
  places = jnp.tensordot(turn, grid, 1) * side + (corner + side / 2)[:, None, None] - 0.5

  def sample(channel: Array) -> Array:
    return jax.scipy.ndimage.map_coordinates(channel, list(places), 1, 'nearest')

  crop = jax.vmap(sample, -1, -1)(pieces.pixels[index].astype(jnp.float32))
  if change:
    crop *= jnp.exp(jax.random.uniform(bright_key, minval=-_BRIGHTNESS, maxval=_BRIGHTNESS))
  return jnp.clip(jnp.round(crop), 0, 255).astype(jnp.uint8)


def source(pieces: Pieces, config: DataConfig, batch_size: int) -> batches.BatchSource:
  """Batches of crops that are cut inside the training step, none of them seen twice."""

  def gather(pieces: Pieces, seed_and_step: tuple) -> batches.Batch:
    seed, step = seed_and_step
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), seed), step)
    keys = jax.random.split(key, batch_size)
    return jax.vmap(lambda key: random_crop(pieces, config.canvas_size, key))(keys), None

  return batches.BatchSource(gather, Pieces(*map(jnp.asarray, pieces)), batches.seed_and_step)


def held_out(pieces: Pieces, config: DataConfig) -> UInt8[np.ndarray, 'B S S C']:
  """Crops for evaluation, always the same, as they are in the pictures."""
  arrays, keys = Pieces(*map(jnp.asarray, pieces)), jax.random.split(jax.random.key(0), _TEST)
  crop = jax.jit(jax.vmap(lambda key: random_crop(arrays, config.canvas_size, key, change=False)))
  return np.asarray(crop(keys))
