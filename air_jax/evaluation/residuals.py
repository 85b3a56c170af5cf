"""What an explanation leaves of an image: how much, of what size, and where."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Int32, UInt8
from scipy import ndimage

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
  image = jnp.asarray(image)
  ink, left = (_beyond(image - jnp.asarray(of), noise) for of in (background, canvas))
  share = 1.0 - left / jnp.maximum(ink, 1e-6)
  return jnp.where(ink > 1e-6, jnp.clip(share, 0.0, 1.0), 1.0)


def _beyond(difference: Float[Array, 'H W C'], noise: Array | float) -> Float[Array, '']:
  beyond = jnp.maximum(jnp.abs(difference).max(-1) - noise, 0.0).ravel()
  # On a CPU 60 times as fast as XLA's sum of it.
  return jnp.dot(beyond, jnp.ones_like(beyond), precision='highest')


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
    ndimage.gaussian_filter1d(np.eye(side, dtype=np.float32), scale, 0) for side in image.shape[:2]
  )
  return jnp.einsum('ij,jkc,lk->ilc', rows, image, columns, precision='highest')


def object_sizes(
  segments: Int[np.ndarray, 'H W'], contrast: Float[np.ndarray, 'H W']
) -> Float[np.ndarray, 'M 2']:
  """The area in pixels of each object of a label image, and the peak of a contrast in it."""
  areas = np.bincount(segments.ravel())
  objects = np.flatnonzero(areas[1:]) + 1
  peaks = ndimage.maximum(contrast, segments, objects)
  return np.stack([areas[objects], np.asarray(peaks)], -1).astype(np.float64)


def off(
  image: UInt8[np.ndarray, 'H W C'], canvas: Float[np.ndarray, 'H W C'], level: float
) -> Bool[np.ndarray, 'H W']:
  """The pixels of which a channel differs from the canvas by more than a level in [0, 1]."""
  return np.abs(image / np.float32(255) - canvas).max(-1) > level


def regions(unexplained: Bool[np.ndarray, 'H W'], area: float) -> Int32[np.ndarray, 'H W']:
  """The connected regions of at least so many pixels: i + 1 in region i, 0 elsewhere."""
  labels, _ = ndimage.label(unexplained, np.ones((3, 3)))
  large = np.bincount(labels.ravel()) >= area
  large[0] = False
  return (np.cumsum(large) * large).astype(np.int32)[labels]


def largest_region(unexplained: Bool[np.ndarray, 'H W']) -> int:
  """Pixels of the largest connected region, 0 where there is none."""
  labels, _ = ndimage.label(unexplained, np.ones((3, 3)))
  return int(np.bincount(labels.ravel())[1:].max(initial=0))
