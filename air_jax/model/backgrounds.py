"""Smooth backgrounds: a few numbers for each channel, and what they look like on the canvas.

Where a background is inferred for each scene, it must be too poor to paint an object, or it
explains objects away. `model.background` is one of:

* 'polynomial': a polynomial of the place, of degree `model.background_degree`: one colour (0), a
  slope (1), or also a brighter middle (2). It is fitted to the image, robustly: `fit`.
* 'latent': colours at the points of a coarse grid, interpolated, from an encoder and a decoder.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from air_jax import sums
from air_jax.config.sections import ModelSpec
from air_jax.types import Normal

# Deviation of a pixel from the background, from the first fit to the last, which sets how far off
# pixels of objects are.
_WIDTHS = (0.1, 0.1, 0.07, 0.05, 0.05)
_SIDE = 32  # pixels along a side that are looked at, about
_RIDGE = 1e-3  # times the root of the number of pixels: a fit far from all pixels stays where it is
_STARTS = 3  # squares along a side, from the median colour of each of which a fit starts


def powers(degree: int) -> list[tuple[int, int]]:
  """The exponents of (y, x) in the terms of a polynomial."""
  return [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]


def terms(size: int, degree: int) -> Float[np.ndarray, 'H W N']:
  """The terms of a polynomial of the place, which runs from -1 to 1 over the canvas."""
  x = (2 * np.arange(size) + 1) / size - 1
  return np.stack([x[:, None] ** i * x**j for i, j in powers(degree)], -1).astype(np.float32)


def init(spec: ModelSpec) -> dict[str, Float[Array, 'N C']]:
  """Parameters of a polynomial: prior and posterior of its numbers, of pixels in [0, 1]."""
  zeros = jnp.zeros((len(powers(spec.background_degree)), spec.channels))
  return {
    'prior_mean': zeros.at[0].set(0.5),
    'prior_log_std': zeros + jnp.log(0.3),
    'log_std': zeros + jnp.log(0.01),
  }


def encode(params: dict[str, Array], image: Float[Array, 'H W C'], spec: ModelSpec) -> Normal:
  """q(z_background) about the fit; z_background is standard normal by the prior."""
  numbers = jax.lax.stop_gradient(fit(image, spec.background_degree))
  scale = jnp.exp(-params['prior_log_std'])
  mean = (numbers - params['prior_mean']) * scale
  return Normal(mean.ravel(), (jnp.exp(params['log_std']) * scale).ravel())


def decode(
  params: dict[str, Array], z_background: Float[Array, ' E'], spec: ModelSpec
) -> Float[Array, 'H W C']:
  """The polynomial of a code."""
  z = z_background.reshape(-1, spec.channels)
  numbers = params['prior_mean'] + jnp.exp(params['prior_log_std']) * z
  return jnp.clip(terms(spec.canvas_size, spec.background_degree) @ numbers, 0.0, 1.0)


def fit(image: Float[Array, 'H W C'], degree: int) -> Float[Array, 'N C']:
  """The polynomial that most pixels of an image lie near to, whatever the others are.

  Least squares weighted by how near a pixel is to the fit before (Holland and Welsch, "Robust
  regression using iteratively reweighted least-squares", 1977), while the width of the weights
  shrinks. Of the fits from several colours the one that explains most pixels is taken.

  Args:
    image: in [0, 1].
    degree: of the polynomial.

  Returns:
    the factors of its `terms`.
  """
  every = -(-len(image) // _SIDE)
  basis = jnp.asarray(terms(len(image), degree)[::every, ::every])
  image = image[::every, ::every]
  flat, pixels = basis.reshape(-1, basis.shape[-1]), image.reshape(-1, image.shape[-1])
  outer = flat[:, :, None] * flat[:, None, :]
  ridge = _RIDGE * len(pixels) ** 0.5 * jnp.eye(flat.shape[1])

  def weigh(numbers: Array, width: float) -> Array:
    squares = ((pixels - flat @ numbers) ** 2).mean(-1)
    return jnp.exp(-0.5 * squares / width**2)

  def from_colour(colour: Array) -> tuple[Array, Array]:
    numbers = jnp.zeros((flat.shape[1], len(colour))).at[0].set(colour)
    for width in _WIDTHS:
      weights = weigh(numbers, width)
      gram = jnp.tensordot(weights, outer, 1) + ridge
      change = jnp.linalg.solve(gram, (flat * weights[:, None]).T @ (pixels - flat @ numbers))
      numbers += change
    return numbers, sums.total(weigh(numbers, _WIDTHS[-1]))

  fits, explained = jax.vmap(from_colour)(_colours(image))
  return fits[explained.argmax()]


def _colours(image: Float[Array, 'H W C']) -> Float[Array, 'S C']:
  """Median colours of squares of an image."""
  side = len(image) // _STARTS
  squares = image[: side * _STARTS, : side * _STARTS]
  squares = squares.reshape(_STARTS, side, _STARTS, side, -1).swapaxes(1, 2)
  return jnp.median(squares.reshape(_STARTS**2, side**2, -1), 1)


def resize(image: Float[Array, 'H W C'], size: int) -> Float[Array, 'S S C']:
  """The same picture with another number of pixels."""
  return jax.image.resize(image, (size, size, image.shape[-1]), 'linear')
