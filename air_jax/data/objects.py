"""What is placed in a scene: glyphs of some size, or shapes drawn at any size and angle.

Functions of one scene, in JAX, so that the same code composes a data set on the host and, vmapped
inside a training step, scenes that are never seen twice.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from air_jax.data import glyphs as glyphs_lib

SHAPES = {
  'sprites': ('circle', 'square', 'triangle'),
  'dsprites': ('square', 'ellipse', 'heart'),
}
_SHAPE_SIZE = 16  # pixels, a shape's native diameter
_SHRINKAGE = (1.3, 0.1)  # mean and deviation of the factor by which touching digits are smaller
_FAINT = 16  # less ink than that, left by resizing or at a shape's edge, widens no box
# Red, green, blue, yellow, magenta, cyan.
_COLOURS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1))


class Objects(NamedTuple):
  """The objects of one scene in pictures of s x s pixels; those beyond the count are not used."""

  ink: jax.Array  # [N, s, s] float32 whole numbers, 0..255
  colours: jax.Array  # [N, C] in [0, 1]
  anchors: jax.Array  # [N, 2] int32, corner of the part of the picture that must lie on the canvas
  extents: jax.Array  # [N, 2] int32, height and width of that part
  labels: jax.Array  # [N] int32
  scales: jax.Array  # [N] float32
  rotations: jax.Array  # [N] float32, radians clockwise


def largest(config):
  """Side in pixels of the pictures that objects are drawn in."""
  native = 1.5 * _SHAPE_SIZE if config.source in SHAPES else glyphs_lib.SIZE
  return max(1, round(native * config.max_scale))


def draw(config, glyphs, key):
  """Draws what could be in a scene.

  Args:
    config: `scenes.Recipe`, or whatever has its fields.
    glyphs: `Glyphs` to draw from, as JAX arrays; not used for shapes.
    key: consumed.

  Returns:
    `Objects`, N = config.max_objects.
  """
  what_key, scale_key, turn_key, colour_key = jax.random.split(key, 4)
  shape = (config.max_objects,)
  scales = jax.random.uniform(scale_key, shape, minval=config.min_scale, maxval=config.max_scale)
  if config.source in SHAPES:
    drawn = _draw_shapes(config, what_key, turn_key, scales)
  elif config.layout == 'touching':
    drawn = _draw_bordered_glyphs(config, glyphs, what_key, turn_key, scales)
  else:
    drawn = _draw_glyphs(config, glyphs, what_key, scales)
  colours = jnp.ones((*shape, 1))
  if config.colour:
    colours = jax.random.choice(colour_key, jnp.array(_COLOURS, jnp.float32), shape)
  return drawn._replace(colours=colours)


def _draw_shapes(config, what_key, turn_key, scales):
  names, shape = SHAPES[config.source], scales.shape
  labels = jax.random.randint(what_key, shape, 0, len(names))
  rotations = jnp.zeros(shape)
  if config.source == 'dsprites':
    rotations = jax.random.uniform(turn_key, shape, maxval=2 * jnp.pi)
  side = largest(config)
  ink = jax.vmap(lambda *what: _shape(names, side, *what))(labels, scales, rotations)
  return _within_ink(Objects(_sharp(ink), None, None, None, labels, scales, rotations))


def _draw_glyphs(config, glyphs, what_key, scales):
  ink, labels = _choose(glyphs, what_key, scales.shape)
  if (config.min_scale, config.max_scale) != (1.0, 1.0):
    sides = jnp.round(glyphs_lib.SIZE * scales)
    ink = _sharp(_resize(ink, sides, largest(config)))
  return _within_ink(Objects(ink, None, None, None, labels, scales, jnp.zeros(scales.shape)))


def _draw_bordered_glyphs(config, glyphs, what_key, size_key, scales):
  """Glyphs shrunk by N(1.3, 0.1), which must lie on the canvas with their borders."""
  ink, labels = _choose(glyphs, what_key, scales.shape)
  mean, std = _SHRINKAGE
  factors = mean + std * jax.random.normal(size_key, scales.shape)
  sides = jnp.round(glyphs_lib.SIZE * scales)
  sides = jnp.clip(jnp.floor(sides / factors), 1, sides)
  extents = jnp.broadcast_to(sides.astype(jnp.int32)[:, None], (*scales.shape, 2))
  return Objects(
    ink=_resize(ink, sides, largest(config)),
    colours=None,
    anchors=jnp.zeros_like(extents),
    extents=extents,
    labels=labels,
    scales=sides / glyphs_lib.SIZE,
    rotations=jnp.zeros(scales.shape),
  )


def _choose(glyphs, key, shape):
  chosen = jax.random.randint(key, shape, 0, len(glyphs.images))
  return glyphs.images[chosen].astype(jnp.float32), glyphs.labels[chosen]


def _sharp(ink):
  return jnp.where(ink < _FAINT, 0, ink)


def _within_ink(drawn):
  """Objects of which only the ink must lie on the canvas."""
  anchors, extents = jax.vmap(ink_bounds)(drawn.ink)
  return drawn._replace(anchors=anchors, extents=extents)


def ink_bounds(ink):
  """Corner and size, [2] int32 each, of the box around what is not 0 in [s, s]."""
  corner, size = [], []
  for axis in (1, 0):
    line = (ink > 0).any(axis)
    start = jnp.argmax(line)
    corner.append(start)
    size.append(jnp.where(line.any(), len(line) - jnp.argmax(line[::-1]) - start, 0))
  return jnp.stack(corner).astype(jnp.int32), jnp.stack(size).astype(jnp.int32)


def _resize(ink, sides, largest):
  """Resizes pictures [N, s, s] to [N] sides, in the corners of [N, largest, largest]."""
  weights = jax.vmap(lambda side: _area_weights(ink.shape[1], side, largest))(sides)
  return jnp.round(
    jnp.einsum('nij,njk,nlk->nil', weights, ink, weights, precision=jax.lax.Precision.HIGHEST)
  )


def _area_weights(size, new, rows):
  """[rows, size] triangle filter, widened by the reduction (PIL's BILINEAR); 0 from row new on."""
  factor = size / new
  rows = jnp.arange(rows)[:, None]
  distance = jnp.abs(jnp.arange(size) + 0.5 - (rows + 0.5) * factor) / jnp.maximum(factor, 1.0)
  weights = jnp.where(rows < new, jnp.maximum(0.0, 1.0 - distance), 0.0)
  return weights / jnp.maximum(weights.sum(1, keepdims=True), 1e-9)


def _shape(names, side, label, scale, rotation):
  """Draws a shape in the middle of [side, side], its edge smooth over one pixel."""
  radius = scale * _SHAPE_SIZE / 2
  v, u = jnp.meshgrid(*(2 * [(jnp.arange(side) - (side - 1) / 2) / radius]), indexing='ij')
  cos, sin = jnp.cos(rotation), jnp.sin(rotation)
  u, v = cos * u + sin * v, cos * v - sin * u
  distance = jnp.stack([_DISTANCES[name](u, v) for name in names])[label] * radius
  return jnp.round(255 * jnp.clip(0.5 - distance, 0, 1))


def _heart(u, v):
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
