"""Cutting a glimpse out of a canvas, and painting it back (Jaderberg et al., arXiv:1506.02025).

AIR needs scale and shift alone, so that both directions are separable: two small matrices of
bilinear weights, one an axis. A place is (scale, x, y): the window's side as a share of the canvas
and its centre in [-1, 1], where -1 and 1 are the outer edges of the first and last pixel.
"""

import jax
import jax.numpy as jnp


def place(z_where):
  """Squashes a raw Gaussian latent into a window on the canvas.

  Args:
    z_where: [3] raw (scale, x, y).

  Returns:
    [3] (scale in (0, 1), x in (-1, 1), y in (-1, 1)).
  """
  return jnp.concatenate([jax.nn.sigmoid(z_where[:1]), jnp.tanh(z_where[1:])])


def _bilinear(positions, size):
  """[n, size] weights that read a row of `size` pixels at n positions; beyond its ends lies 0."""
  return jnp.maximum(0.0, 1.0 - jnp.abs(positions[:, None] - jnp.arange(size)))


def _centres(size):
  """[size] centres of pixels in [-1, 1]."""
  return (2.0 * jnp.arange(size) + 1.0) / size - 1.0


def _pixels(coordinates, size):
  """Coordinates in [-1, 1] as fractional pixel numbers of a row of `size` pixels."""
  return ((coordinates + 1.0) * size - 1.0) / 2.0


def _each_channel(rows, image, columns):
  """Computes rows image columns^T for each channel of [H, W, C]."""
  planes = jnp.moveaxis(image, -1, 0)
  return jnp.moveaxis(rows @ planes @ columns.T, 0, -1)


def crop(image, window, glimpse_size):
  """Reads a window of an image by bilinear interpolation.

      glimpse = W_y image W_x^T, each channel by itself

  Args:
    image: [H, W, C].
    window: [3] (scale, x, y) as `place` gives it.
    glimpse_size: side of the glimpse in pixels.

  Returns:
    [glimpse_size, glimpse_size, C]; what lies outside the image reads as 0.
  """
  scale, x, y = window
  height, width, _ = image.shape
  centres = _centres(glimpse_size)
  rows = _bilinear(_pixels(scale * centres + y, height), height)
  columns = _bilinear(_pixels(scale * centres + x, width), width)
  return _each_channel(rows, image, columns)


def paint(glimpse, window, canvas_size):
  """Places a glimpse at its window on an empty canvas: the inverse map of `crop`.

      canvas = V_y glimpse V_x^T

  Args:
    glimpse: [h, w, C].
    window: [3] (scale, x, y) as `place` gives it.
    canvas_size: side of the canvas in pixels.

  Returns:
    [canvas_size, canvas_size, C], 0 from half a glimpse pixel outside the window on.
  """
  scale, x, y = window
  height, width, _ = glimpse.shape
  centres = _centres(canvas_size)
  rows = _bilinear(_pixels((centres - y) / scale, height), height)
  columns = _bilinear(_pixels((centres - x) / scale, width), width)
  return _each_channel(rows, glimpse, columns)


def box(window, canvas_size):
  """The window's outline in pixels.

  Args:
    window: [3] (scale, x, y) as `place` gives it.
    canvas_size: side of the canvas in pixels.

  Returns:
    [4] (top, left, height, width) in pixels; it may reach beyond the canvas.
  """
  scale, x, y = window
  side = scale * canvas_size
  top = (y + 1.0) / 2.0 * canvas_size - side / 2.0
  left = (x + 1.0) / 2.0 * canvas_size - side / 2.0
  return jnp.stack([top, left, side, side])
