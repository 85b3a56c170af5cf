"""Smooth backgrounds: a few numbers for each channel, and what they look like on the canvas.

Where a background is learned for each scene, it must be too poor to paint an object, or it explains
objects away. `model.background` is one of:

* 'latent': levels at the points of a coarse grid, interpolated.
* 'polynomial': a polynomial of the place, of degree `model.background_degree`: one colour (0), a
  slope (1), or also a brighter middle (2).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from air_jax.config.sections import ModelSpec


class Smooth(NamedTuple):
  """A kind of backgrounds."""

  numbers: int  # for each channel
  draw: Callable[[Float[Array, 'N C']], Float[Array, 'H W C']]  # linear; log-odds of the colours
  start: Float[np.ndarray, ' N']  # numbers that draw 1 everywhere


def smooth(spec: ModelSpec) -> Smooth:
  """The smooth backgrounds of an architecture that has a code for them."""
  return {'latent': _grid, 'polynomial': _polynomial}[spec.background](spec)


def _grid(spec: ModelSpec) -> Smooth:
  side, size = spec.background_grid, spec.canvas_size

  def draw(levels: Array) -> Array:
    return resize(levels.reshape(side, side, -1), size)

  return Smooth(side**2, draw, np.ones(side**2))


def _polynomial(spec: ModelSpec) -> Smooth:
  x = (2 * np.arange(spec.canvas_size) + 1) / spec.canvas_size - 1
  powers = [(i, j) for i in range(3) for j in range(3) if i + j <= spec.background_degree]
  terms = np.stack([x[:, None] ** i * x**j for i, j in powers], -1).astype(np.float32)
  start = np.array([float(i + j == 0) for i, j in powers])
  return Smooth(len(powers), lambda numbers: jnp.asarray(terms) @ numbers, start)


def resize(image: Float[Array, 'H W C'], size: int) -> Float[Array, 'S S C']:
  """The same picture with another number of pixels."""
  return jax.image.resize(image, (size, size, image.shape[-1]), 'linear')
