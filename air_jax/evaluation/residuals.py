"""What an explanation leaves of an image: how much, of what size, and where."""

import jax.numpy as jnp
import numpy as np
import scipy  # imports its parts when they are first used
from jaxtyping import Array, ArrayLike, Bool, Float, Int, UInt8

from air_jax import sums
from air_jax.runtime import strips

_SCALES = 1.0, 2.0, 4.0, 8.0  # pixels, deviations of the blurs between which the bands lie
BANDS = len(_SCALES) + 1


def ink_explained(
  image: Float[ArrayLike, 'H W C'],
  background: Float[ArrayLike, 'H W C'],
  canvas: Float[ArrayLike, 'H W C'],
  noise: Float[Array, ''] | float,
) -> Float[Array, '']:
  """The share of the ink that the objects explain, in [0, 1].

      1 - sum |image - canvas|' / sum |image - background|',   |d|' = max(max_c |d_c| - noise, 0)

  with sums over pixels: ink is what differs from the background by more than noise, and what is
  left of it differs from the canvas by more. It is 1 where there is no ink.

  Args:
    image: in [0, 1].
    background: what the model paints without objects.
    canvas: the background with the objects.
    noise: the deviation of a pixel, `likelihood_std`.
  """
  return share_of_ink(ink_beyond(image, background, noise), ink_beyond(image, canvas, noise))


def ink_beyond(
  image: Float[ArrayLike, 'H W C'], canvas: Float[ArrayLike, 'H W C'], noise: Array | float
) -> Float[Array, '']:
  """The ink of an image that a canvas leaves, a sum over pixels; see `ink_explained`."""
  difference = jnp.asarray(image) - jnp.asarray(canvas)
  return sums.total(jnp.maximum(jnp.abs(difference).max(-1) - noise, 0.0))


def share_of_ink(ink: Float[ArrayLike, ''], left: Float[ArrayLike, '']) -> Float[Array, '']:
  """`ink_explained` of the ink that the background leaves and of what the canvas leaves of it."""
  ink = jnp.asarray(ink)
  share = 1.0 - left / jnp.maximum(ink, 1e-6)
  return jnp.where(ink > 1e-6, jnp.clip(share, 0.0, 1.0), 1.0)


def band_energies(image: Float[Array, 'H W C']) -> Float[Array, ' F']:
  """The mean square of an image in `BANDS` bands, from fine to coarse.

  A band is the difference of the image blurred by two neighbouring scales. The first holds noise,
  the next strokes, the last the mean brightness: larger or bolder objects move energy from one to
  the next.
  """
  blurred = [image, *(_blur(image, scale) for scale in _SCALES)]
  bands = [fine - coarse for fine, coarse in zip(blurred, blurred[1:], strict=False)]
  return jnp.stack([(band**2).mean() for band in (*bands, blurred[-1])])


def _blur(image: Array, scale: float) -> Array:
  rows, columns = (
    scipy.ndimage.gaussian_filter1d(np.eye(side, dtype=np.float32), scale, 0)
    for side in image.shape[:2]
  )
  return jnp.einsum('ij,jkc,lk->ilc', rows, image, columns, precision='highest')


def object_sizes(
  segments: Int[np.ndarray, 'H W'], contrast: Float[np.ndarray, 'H W']
) -> Float[np.ndarray, 'M 2']:
  """The area in pixels of each object of a label image, and the peak of a contrast in it."""
  areas = np.bincount(segments.ravel())
  objects = np.flatnonzero(areas[1:]) + 1
  peaks = scipy.ndimage.maximum(contrast, segments, objects)
  return np.stack([areas[objects], np.asarray(peaks)], -1).astype(np.float64)


def off(
  image: UInt8[np.ndarray, 'H W C'], canvas: Float[np.ndarray, 'H W C'], level: float
) -> Bool[np.ndarray, 'H W']:
  """The pixels of which a channel differs from the canvas by more than a level in [0, 1]."""
  return np.abs(image / np.float32(255) - canvas).max(-1) > level


def regions(unexplained: Bool[np.ndarray, 'H W'], area: float) -> Int[np.ndarray, 'H W']:
  """The connected regions of at least so many pixels: i + 1 in region i, 0 elsewhere.

  Numbers have 16 bits, or 32 where those are few.
  """
  labels, number = scipy.ndimage.label(unexplained, np.ones((3, 3)))
  large = strips.count(labels, number + 1) >= area
  large[0] = False
  small = large.sum() < 2**16
  numbers = (np.cumsum(large) * large).astype(np.uint16 if small else np.int32)
  return strips.look_up(numbers, labels)


def largest_region(unexplained: Bool[np.ndarray, 'H W']) -> int:
  """Pixels of the largest connected region, 0 where there is none."""
  labels, _ = scipy.ndimage.label(unexplained, np.ones((3, 3)))
  return int(np.bincount(labels.ravel())[1:].max(initial=0))
