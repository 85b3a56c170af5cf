"""How an image scatters about the canvas: log p(x | canvas), for every count at once.

A likelihood is an object with the two methods of `Likelihood`. It is found by name in `LIKELIHOODS`
or by import path: `model.likelihood='my_module:MyLikelihood'` names a callable without arguments
that returns one.
"""

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from air_jax import import_path, sums
from air_jax.errors import UserError
from air_jax.types import ModelNumbers

Image = Float[Array, 'H W C']


class PrefixNll(NamedTuple):
  """Negative log-likelihoods of the first k objects."""

  nll: Float[Array, ' T+1']  # nats
  products: Float[Array, 'T+1 T+1'] | None = None  # see `ElboTerms.products`


class Likelihood(Protocol):
  """The distribution of an image given its canvas; hashable: jit takes it as static."""

  def prefix_nll(
    self,
    image: Image,
    canvases: Float[Array, 'T+1 H W C'],
    additions: Float[Array, 'T H W C'] | None,
    numbers: ModelNumbers,
  ) -> PrefixNll:
    """-log p(image | canvas_k) for each count k, in nats, summed over pixels.

    `additions` are what each object adds to the canvas of those before it; None: see `canvases`.
    """

  def sample(self, canvas: Image, key: PRNGKeyArray, numbers: ModelNumbers) -> Image:
    """An image drawn from p(image | canvas). The key is consumed."""


@dataclass(frozen=True)
class Gaussian:
  """Every pixel is Normal(canvas, sigma), sigma = `model.likelihood_std`."""

  def prefix_nll(
    self, image: Image, canvases: Array, additions: Array | None, numbers: ModelNumbers
  ) -> PrefixNll:
    std = numbers.likelihood_std
    constant = image.size * jnp.log(std * jnp.sqrt(2.0 * jnp.pi))
    if additions is None:
      residuals = (image - canvases) / std
      return PrefixNll(0.5 * _sums(residuals**2) + constant)
    # |x - background - sum of the first k additions|^2 for every k, from inner products: XLA's CPU
    # is slow to make a canvas for each count and to differentiate through it.
    vectors = jnp.concatenate([(image - canvases[0])[None], additions])
    vectors = vectors.reshape(len(vectors), -1)
    products = jnp.dot(vectors, vectors.T, precision=jax.lax.Precision.HIGHEST) / std**2
    signs = jnp.tri(len(products)).at[:, 1:].multiply(-1.0)
    squares = jnp.einsum('ki,ij,kj->k', signs, products, signs, precision='highest')
    return PrefixNll(0.5 * squares + constant, products)

  def sample(self, canvas: Image, key: PRNGKeyArray, numbers: ModelNumbers) -> Image:
    return canvas + numbers.likelihood_std * jax.random.normal(key, canvas.shape)


@dataclass(frozen=True)
class StudentT:
  """Every pixel is Student-t around the canvas: a few pixels that are far off cost little.

  With `freedom` > 2 degrees of freedom; its deviation is `model.likelihood_std`.
  """

  freedom: float = 4.0

  def prefix_nll(
    self, image: Image, canvases: Array, additions: Array | None, numbers: ModelNumbers
  ) -> PrefixNll:
    del additions
    scale, half = self._scale(numbers), (self.freedom + 1.0) / 2.0
    squares = ((image - canvases) / scale) ** 2 / self.freedom
    constant = math.lgamma(self.freedom / 2) - math.lgamma(half)
    constant += 0.5 * math.log(self.freedom * math.pi)
    nll = half * _sums(jnp.log1p(squares)) + image.size * (constant + jnp.log(scale))
    return PrefixNll(nll)

  def sample(self, canvas: Image, key: PRNGKeyArray, numbers: ModelNumbers) -> Image:
    return canvas + self._scale(numbers) * jax.random.t(key, self.freedom, canvas.shape)

  def _scale(self, numbers: ModelNumbers) -> Array:
    return jnp.asarray(numbers.likelihood_std * math.sqrt((self.freedom - 2.0) / self.freedom))


@dataclass(frozen=True)
class Bernoulli:
  """Every pixel is a coin that shows white with the canvas' probability, clipped to [m, 1 - m].

      -log p(x | c) = -sum_pixels x log c + (1 - x) log(1 - c)

  For binary images; grey pixels in (0, 1) count as mixtures, whose bound is no density.
  """

  margin: float = 1e-3

  def prefix_nll(
    self, image: Image, canvases: Array, additions: Array | None, numbers: ModelNumbers
  ) -> PrefixNll:
    del additions, numbers
    white = jnp.clip(canvases, self.margin, 1.0 - self.margin)
    log_p = image * jnp.log(white) + (1.0 - image) * jnp.log1p(-white)
    return PrefixNll(-_sums(log_p))

  def sample(self, canvas: Image, key: PRNGKeyArray, numbers: ModelNumbers) -> Image:
    del numbers
    white = jnp.clip(canvas, self.margin, 1.0 - self.margin)
    return jax.random.bernoulli(key, white).astype(canvas.dtype)


def _sums(pixels: Float[Array, 'K H W C']) -> Float[Array, ' K']:
  """The sum over the pixels of each image."""
  return jax.vmap(sums.total)(pixels)


LIKELIHOODS = {'gaussian': Gaussian, 'student': StudentT, 'bernoulli': Bernoulli}


@functools.cache
def resolve(name: str) -> Likelihood:
  """The likelihood of a name in `LIKELIHOODS` or of an import path 'module:attribute'.

  Raises:
    UserError: it cannot be imported, or is no likelihood.
  """
  make = LIKELIHOODS.get(name) or import_path.load(name, 'model.likelihood')
  likelihood = make()
  for method in ('prefix_nll', 'sample'):
    if not callable(getattr(likelihood, method, None)):
      raise UserError(
        f'model.likelihood={name!r} gives {likelihood!r}, which has no method {method}; see '
        'air_jax.model.likelihoods.Likelihood'
      )
  return likelihood
