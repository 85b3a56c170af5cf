"""What is placed in a scene: glyphs of some size, or shapes of any size and rotation.

These functions make one scene, in JAX. The same code composes a data set on the host and, vmapped
inside a training step, scenes that are seen once.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from air_jax.config.sections import Recipe
from air_jax.data import glyphs as glyphs_lib
from air_jax.data.glyphs import Glyphs

SHAPES = {
  'sprites': ('circle', 'square', 'triangle'),
  'dsprites': ('square', 'ellipse', 'heart'),
}
_SHAPE_SIZE = 16  # pixels, a shape's native diameter
_SHRINKAGE = (1.3, 0.1)  # mean and deviation of the factor by which touching digits are smaller
_FAINT = 16  # ink below this, left by resizing or at the edge of a shape, widens no box
# Red, green, blue, yellow, magenta, cyan.
_COLOURS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1))


class Objects(NamedTuple):
  """The objects of one scene, each in an image of s x s pixels; only the first `count` are used."""

  ink: Float[Array, 'N s s']  # whole numbers, 0..255
  colours: Float[Array, 'N C']  # in [0, 1]
  anchors: Int[Array, 'N 2']  # corner of the part of the image that must lie on the canvas
  extents: Int[Array, 'N 2']  # height and width of that part
  labels: Int[Array, ' N']
  scales: Float[Array, ' N']
  rotations: Float[Array, ' N']  # radians clockwise


def sample(config: Recipe, glyphs: Glyphs | None, key: PRNGKeyArray) -> Objects:
  """Samples N = config.most_objects objects.

  Args:
    config: what decides a scene.
    glyphs: as JAX arrays, padded or not; None for shapes.
    key: consumed.
  """
  what_key, scale_key, turn_key, colour_key = jax.random.split(key, 4)
  shape = (config.most_objects,)
  scales = jax.random.uniform(scale_key, shape, minval=config.min_scale, maxval=config.max_scale)
  colours = sample_colours(config, colour_key)
  if glyphs is None:
    return _sample_shapes(config, what_key, turn_key, scales, colours)
  chosen = jax.random.randint(what_key, shape, 0, (glyphs.labels != glyphs_lib.PADDING).sum())
  ink, labels = glyphs.images[chosen].astype(jnp.float32), glyphs.labels[chosen]
  if config.layout == 'touching':
    return _shrink(config, ink, labels, turn_key, scales, colours)
  if (config.min_scale, config.max_scale) != (1.0, 1.0):
    ink = _sharp(_resize(ink, jnp.round(glyphs_lib.SIZE * scales), largest(config)))
  return _within_ink(ink, colours, labels, scales, jnp.zeros(shape))


def sample_colours(config: Recipe, key: PRNGKeyArray) -> Float[Array, 'N C']:
  """Samples the colours of N = config.most_objects objects. The key is consumed."""
  shape = (config.most_objects,)
  if config.palette == 'uniform':
    return jax.random.uniform(key, (*shape, 3 if config.colour else 1))
  if config.colour:
    return jax.random.choice(key, jnp.array(_COLOURS, jnp.float32), shape)
  return jnp.ones((*shape, 1))


def largest(config: Recipe) -> int:
  """Side in pixels of the images that hold the objects."""
  native = 1.5 * _SHAPE_SIZE if config.source in SHAPES else glyphs_lib.SIZE
  return max(1, round(native * config.max_scale))


def _sample_shapes(
  config: Recipe, what_key: PRNGKeyArray, turn_key: PRNGKeyArray, scales: Array, colours: Array
) -> Objects:
  names, shape = SHAPES[config.source], scales.shape
  labels = jax.random.randint(what_key, shape, 0, len(names))
  rotations = jnp.zeros(shape)
  if config.source == 'dsprites':
    rotations = jax.random.uniform(turn_key, shape, maxval=2 * jnp.pi)
  side = largest(config)
  ink = jax.vmap(lambda *what: _shape(names, side, *what))(labels, scales, rotations)
  return _within_ink(_sharp(ink), colours, labels, scales, rotations)


def _shrink(
  config: Recipe, ink: Array, labels: Array, size_key: PRNGKeyArray, scales: Array, colours: Array
) -> Objects:
  """Glyphs shrunk by N(1.3, 0.1), which must lie on the canvas with their borders."""
  mean, std = _SHRINKAGE
  factors = mean + std * jax.random.normal(size_key, scales.shape)
  sides = jnp.round(glyphs_lib.SIZE * scales)
  sides = jnp.clip(jnp.floor(sides / factors), 1, sides)
  extents = jnp.broadcast_to(sides.astype(jnp.int32)[:, None], (*scales.shape, 2))
  return Objects(
    ink=_resize(ink, sides, largest(config)),
    colours=colours,
    anchors=jnp.zeros_like(extents),
    extents=extents,
    labels=labels,
    scales=sides / glyphs_lib.SIZE,
    rotations=jnp.zeros(scales.shape),
  )


def _sharp(ink: Array) -> Array:
  return jnp.where(ink < _FAINT, 0, ink)


def _within_ink(
  ink: Array, colours: Array, labels: Array, scales: Array, rotations: Array
) -> Objects:
  """Objects of which only the ink must lie on the canvas."""
  return Objects(ink, colours, *jax.vmap(ink_bounds)(ink), labels, scales, rotations)


def ink_bounds(ink: Float[Array, 's s']) -> tuple[Int[Array, '2'], Int[Array, '2']]:
  """Corner and size of the box around the pixels that are not 0."""
  corner, size = [], []
  for axis in (1, 0):
    line = (ink > 0).any(axis)
    start = jnp.argmax(line)
    corner.append(start)
    size.append(jnp.where(line.any(), len(line) - jnp.argmax(line[::-1]) - start, 0))
  return jnp.stack(corner).astype(jnp.int32), jnp.stack(size).astype(jnp.int32)


def _resize(
  ink: Float[Array, 'N s s'], sides: Float[Array, ' N'], largest: int
) -> Float[Array, 'N l l']:
  """Resizes each image to its own side, in the corner of l x l pixels, l = largest."""
  weights = jax.vmap(lambda side: _area_weights(ink.shape[1], side, largest))(sides)
  return jnp.round(
    jnp.einsum('nij,njk,nlk->nil', weights, ink, weights, precision=jax.lax.Precision.HIGHEST)
  )


def _area_weights(size: int, new: Float[Array, ''], largest: int) -> Float[Array, 'l s']:
  """A triangle filter, widened by the reduction (PIL's BILINEAR); 0 from row `new` on."""
  factor = size / new
  rows = jnp.arange(largest)[:, None]
  distance = jnp.abs(jnp.arange(size) + 0.5 - (rows + 0.5) * factor) / jnp.maximum(factor, 1.0)
  weights = jnp.where(rows < new, jnp.maximum(0.0, 1.0 - distance), 0.0)
  return weights / jnp.maximum(weights.sum(1, keepdims=True), 1e-9)


def _shape(
  names: tuple[str, ...], side: int, label: Array, scale: Array, rotation: Array
) -> Float[Array, 's s']:
  """Renders a shape in the middle of s x s pixels, its edge smooth over one pixel."""
  radius = scale * _SHAPE_SIZE / 2
  v, u = jnp.meshgrid(*(2 * [(jnp.arange(side) - (side - 1) / 2) / radius]), indexing='ij')
  cos, sin = jnp.cos(rotation), jnp.sin(rotation)
  u, v = cos * u + sin * v, cos * v - sin * u
  distance = jnp.stack([_DISTANCES[name](u, v) for name in names])[label] * radius
  return jnp.round(255 * jnp.clip(0.5 - distance, 0, 1))


def _heart(u: Array, v: Array) -> Array:
  """A square on its corner with a disc on each of its upper sides."""
  side = 0.58
  offset = side / jnp.sqrt(2.0)
  disc = jnp.hypot(jnp.abs(u) - offset, v + offset) - side
  return jnp.minimum((jnp.abs(u) + jnp.abs(v)) / jnp.sqrt(2.0) - side, disc)


# Distance to the outline, negative inside, in units of a shape's radius; u points right, v down.
_DISTANCES = {
  'circle': lambda u, v: jnp.hypot(u, v) - 1.0,
  'square': lambda u, v: jnp.maximum(jnp.abs(u), jnp.abs(v)) - 0.85,
  'triangle': lambda u, v: jnp.maximum(v, 0.75**0.5 * jnp.abs(u) - v / 2) - 0.5,
  'ellipse': lambda u, v: 0.55 * (jnp.hypot(u, v / 0.55) - 1.0),
  'heart': _heart,
}
