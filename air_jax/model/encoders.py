"""How an image is encoded: features of patches, and attention over them. For one image."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from air_jax.model.layers import Dense, Mlp, scaled

# Attention starts fairly sharp. (The best patch alone, with a straight-through gradient, learns
# faster at first and then fails.)
SHARPNESS = 5.0
MEAN_SHIFT_STEPS = 3
# Images are mostly black: larger weights bring features to unit variance.
_sparse = scaled(9.0)


class ImageEncoder(nn.Module):
  """An MLP on features of the image's patches, computed by layers shared over all patches.

  An MLP on raw pixels lacks the sharing, and takes two digits side by side for one.
  """

  patch_size: int  # pixels; 0: raw pixels
  patch_features: int
  rounds: int
  sizes: tuple[int, ...]

  @nn.compact
  def __call__(self, image: Float[Array, 'H W C']) -> Float[Array, ' F']:
    if self.patch_size:
      image = describe_patches(image, self.patch_size, self.patch_features, self.rounds)
    return Mlp(self.sizes, name='mlp')(image.ravel())


class Attention(nn.Module):
  """Places that stand out in an image, and what is there (spatial softmax: Levine et al., 2016).

  Each head spreads a softmax over the patches, by features of the patch and its surroundings and by
  a learned preference for places, which breaks the tie between objects that look alike. The mean of
  a softmax spread over two objects lies between them, where nothing is: a few steps of mean shift
  move it to one of the two (Cheng, "Mean shift, mode seeking, and clustering", 1995).
  """

  patch_size: int
  patch_features: int
  heads: int

  @nn.compact
  def __call__(self, image: Float[Array, 'H W C'], reach: Float[Array, '']) -> Float[Array, ' R']:
    """Returns the heads' places (x, y) in [-1, 1], then their mean features.

    `reach` is the width of the mean shift's kernel, in [-1, 1] across the image.
    """
    patches = split_into_patches(image, self.patch_size)
    rows, columns, _ = patches.shape
    size = self.patch_features
    features = nn.elu(Dense(size, kernel_init=_sparse, name='patches')(patches))
    features = nn.elu(Dense(2 * size, name='near')(_surroundings(features, 1)))
    # Seven patches across now, more than an object: the gap between two must not look like one.
    wider = _surroundings(nn.elu(Dense(size, name='narrow')(features)), 2)
    features = nn.elu(Dense(2 * size, name='far')(jnp.concatenate([wider, features], -1)))
    preference = self.param('preference', nn.initializers.normal(0.5), (rows, columns, self.heads))
    scores = Dense(self.heads, name='score')(features) + preference
    scores = SHARPNESS * scores.reshape(-1, self.heads).T
    y, x = jnp.meshgrid(
      *((2.0 * jnp.arange(n) + 1.0) / n - 1.0 for n in (rows, columns)), indexing='ij'
    )
    centres = jnp.stack([x.ravel(), y.ravel()], -1)
    weights = nn.softmax(scores)
    for _ in range(MEAN_SHIFT_STEPS):
      distance = jnp.sum((centres - (weights @ centres)[:, None]) ** 2, -1)
      weights = nn.softmax(scores - 0.5 * distance / reach**2)
    attended = weights @ features.reshape(-1, features.shape[-1])
    return jnp.concatenate([(weights @ centres).ravel(), attended.ravel()])


def describe_patches(
  image: Float[Array, 'H W C'], size: int, features: int, rounds: int
) -> Float[Array, 'rows columns F']:
  """Features of an image's patches, by layers that belong to the module that calls this.

  The first layer reads a patch alone. In each round two more layers read its neighbours, down and
  then across: a 3x3 convolution in two, as matrix products, since XLA's CPU convolutions are slow
  in populations.

  Args:
    image: the image.
    size: pixels, side of a patch.
    features: F.
    rounds: in which a patch sees its neighbours.
  """
  patches = split_into_patches(image, size)
  x = nn.elu(Dense(features, kernel_init=_sparse, name='patches')(patches))
  for i in range(rounds):
    for axis, direction in ((0, 'down'), (1, 'across')):
      x = nn.elu(Dense(features, name=f'round_{i}_{direction}')(_neighbours(x, axis, 1)))
  return x


def split_into_patches(image: Float[Array, 'H W C'], size: int) -> Float[Array, 'rows columns P']:
  """Splits an image into patches of size x size x C numbers, padded with 0 at the far edges."""
  height, width, channels = image.shape
  rows, columns = -(-height // size), -(-width // size)
  image = jnp.pad(image, ((0, -height % size), (0, -width % size), (0, 0)))
  image = image.reshape(rows, size, columns, size, channels)
  return image.swapaxes(1, 2).reshape(rows, columns, size * size * channels)


def _neighbours(features: Array, axis: int, apart: int) -> Array:
  """[rows, columns, 3 F]: each place's features, and those `apart` places before and after."""
  length = features.shape[axis]
  padding = [(apart, apart) if i == axis else (0, 0) for i in range(3)]
  features = jnp.pad(features, padding)
  starts = range(0, 2 * apart + 1, apart)
  return jnp.concatenate(
    [jax.lax.slice_in_dim(features, i, i + length, axis=axis) for i in starts], -1
  )


def _surroundings(features: Array, apart: int) -> Array:
  """[rows, columns, 9 F]: at each place the features of a 3x3 grid, `apart` places away."""
  return _neighbours(_neighbours(features, 1, apart), 0, apart)
