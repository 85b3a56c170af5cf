"""Reads the crop in a window of an image, and paints a glimpse there (arXiv:1506.02025).

AIR needs only scale and shift, so both directions are separable: a small matrix of bilinear weights
for each axis. A window is (scale, x, y): its side as a fraction of the canvas, and its centre in
[-1, 1], where -1 and 1 are the outer edges of the first and the last pixel.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from air_jax.types import Normal


def place(z_where: Float[Array, ' 3']) -> Float[Array, ' 3']:
  """The window of a raw latent (scale, x, y): scale in (0, 1), x and y in (-1, 1)."""
  return jnp.concatenate([jax.nn.sigmoid(z_where[:1]), jnp.tanh(z_where[1:])])


def rescale(size: Normal, ratio: float) -> Normal:
  """A Gaussian of raw scales on a canvas that is 1 / ratio times as large: the same in pixels.

  The deviation is exact to first order.
  """
  if ratio == 1.0:
    return size
  here = jax.nn.sigmoid(size.mean)
  there = ratio * here
  mean = jnp.log(there) - jnp.log1p(-there)
  return Normal(mean, size.std * (1.0 - here) / (1.0 - there))


def _bilinear(positions: Float[Array, ' n'], size: int) -> Float[Array, 'n size']:
  """[n, size] weights that read a row of `size` pixels at n positions; beyond its ends lies 0."""
  return jnp.maximum(0.0, 1.0 - jnp.abs(positions[:, None] - jnp.arange(size)))


def _centres(size: int) -> Float[Array, ' size']:
  """[size] centres of pixels in [-1, 1]."""
  return (2.0 * jnp.arange(size) + 1.0) / size - 1.0


def _pixels(coordinates: Float[Array, ' n'], size: int) -> Float[Array, ' n']:
  """Coordinates in [-1, 1] as fractional pixel numbers of a row of `size` pixels."""
  return ((coordinates + 1.0) * size - 1.0) / 2.0


def _each_channel(rows: Array, image: Array, columns: Array) -> Array:
  """Computes rows image columns^T for each channel of [H, W, C]."""
  planes = jnp.moveaxis(image, -1, 0)
  return jnp.moveaxis(rows @ planes @ columns.T, 0, -1)


def crop(
  image: Float[Array, 'H W C'], window: Float[Array, ' 3'], glimpse_size: int
) -> Float[Array, 'h w C']:
  """Reads a window of an image by bilinear interpolation; outside the image it reads 0.

      crop = W_y image W_x^T, each channel by itself

  Args:
    image: the image.
    window: (scale, x, y) from `place`.
    glimpse_size: side of the crop in pixels.
  """
  scale, x, y = window
  height, width, _ = image.shape
  centres = _centres(glimpse_size)
  rows = _bilinear(_pixels(scale * centres + y, height), height)
  columns = _bilinear(_pixels(scale * centres + x, width), width)
  return _each_channel(rows, image, columns)


def paint(
  glimpse: Float[Array, 'h w C'], window: Float[Array, ' 3'], canvas_size: int
) -> Float[Array, 'H W C']:
  """Paints a glimpse at its window on an empty canvas: the inverse map of `crop`.

      canvas = V_y glimpse V_x^T

  Args:
    glimpse: the glimpse.
    window: (scale, x, y) from `place`.
    canvas_size: side of the canvas in pixels.

  Returns:
    The canvas; it is 0 beyond half a glimpse pixel outside the window.
  """
  scale, x, y = window
  height, width, _ = glimpse.shape
  centres = _centres(canvas_size)
  rows = _bilinear(_pixels((centres - y) / scale, height), height)
  columns = _bilinear(_pixels((centres - x) / scale, width), width)
  return _each_channel(rows, glimpse, columns)


def box(window: Float[Array, ' 3'], canvas_size: int) -> Float[Array, ' 4']:
  """A window's (top, left, height, width) in pixels; it may reach beyond the canvas."""
  scale, x, y = window
  side = scale * canvas_size
  top = (y + 1.0) / 2.0 * canvas_size - side / 2.0
  left = (x + 1.0) / 2.0 * canvas_size - side / 2.0
  return jnp.stack([top, left, side, side])
