"""A cell without memory that finds any number of objects, on a canvas of any size.

It sees what is left to explain, proposes a place and looks there:

1. Layers shared over all patches give each patch a score and a vote, the offset from the patch to
   the middle of its object (Hough voting: Ballard, 1981; Qi et al., "Deep Hough voting", 2019).
2. Scores weigh the ink that is left, so that an explained object is not proposed again. Mean shift
   among the votes (Cheng, 1995) goes from the patch with the highest score to a place.
3. Looks: a crop at that place corrects place and size, a crop there corrects them again. Whether
   there is an object is read from the last look.
4. The glimpse encoder sees the image, explained or not, as far as patches voted for this place:
   the rest of an object that is explained already is then no object of its own, and a neighbour is
   no part of this one.

No parameter knows how many steps there are, which step it is, or where on the canvas it looks.
Places are (x, y) in half reference canvases from the middle of the image, so that they mean as many
pixels on any canvas.
"""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from air_jax.config.sections import ModelSpec
from air_jax.model import encoders, layers
from air_jax.model import spatial_transformer as transformer
from air_jax.model.layers import Dense, scaled
from air_jax.model.parts import Cell, Found, Part, Run, Seen, part
from air_jax.types import Normal

_SHARPNESS = 5.0  # of scores
_SHIFTS = 3  # steps of mean shift
_KERNEL = 0.5  # deviation of its kernel, in half windows
_REACH = 1.2  # longest vote along an axis, in half windows
_WIDER = 1.33  # side of a crop, in windows
_BELONGS = 0.8  # deviation of the votes of an object's patches, in half windows
_REFUSED = 8.0  # how much lower places score where there turned out to be no object
_NO_INK = 1e-3  # added to the ink of a patch before its logarithm is taken
_EDGE = 0.995  # places stay within this part of the canvas, for tanh never reaches 1


class Ballot(NamedTuple):
  """What P patches say."""

  features: Float[Array, 'P F']
  scores: Float[Array, ' P']
  votes: Float[Array, 'P 2']  # places


class Patches(nn.Module):
  """Features of each patch and its neighbours, with a score and a vote."""

  patch_size: int
  features: int
  rounds: int

  @nn.compact
  def __call__(
    self, image: Float[Array, 'H W C']
  ) -> tuple[Float[Array, 'rows columns F'], Float[Array, 'rows columns 3']]:
    """Returns features, and (score, x, y) before any scaling."""
    features = encoders.describe_patches(image, self.patch_size, self.features, self.rounds)
    return features, Dense(3, kernel_init=scaled(0.1), name='output')(features)


class Look(nn.Module):
  """What a crop says about the object near its middle."""

  sizes: tuple[int, ...]

  @nn.compact
  def __call__(self, inputs: Float[Array, ' I']) -> tuple[Float[Array, ' L'], Float[Array, ' 6']]:
    """Returns features, and (log-odds of the size, step in x and y, three raw deviations)."""
    features = layers.Mlp(self.sizes, name='mlp')(inputs)
    return features, Dense(6, kernel_init=scaled(0.1), name='output')(features)


def feature_size(spec: ModelSpec) -> int:
  """L, the size of the features that the presence head reads."""
  return spec.location_sizes[-1]


def parts(spec: ModelSpec, replaced: Mapping[str, Part]) -> dict[str, Part]:
  """Its networks by role; none depends on those of `replaced`."""
  del replaced
  canvas = spec.canvas_size, spec.canvas_size, spec.channels
  inputs = spec.glimpse_size**2 * spec.channels + 1 + spec.patch_features
  looks = {f'look_{i}': part(Look(spec.location_sizes), (inputs,)) for i in range(spec.looks)}
  patches = Patches(spec.patch_size, spec.patch_features, spec.patch_rounds)
  return {'patches': part(patches, canvas), **looks}


def cell(spec: ModelSpec, run: Run) -> Cell:
  """Builds the cell; `run` applies its networks. Its state says which patches were refused."""
  middles = patch_middles(spec)
  ratio = spec.reference_size / spec.canvas_size

  def vote(params, seen: Seen):
    features, output = run('patches', params, seen.left)
    score, vote = jnp.split(output.reshape(-1, 3), (1,), axis=1)
    ink = jnp.sum(encoders.split_into_patches(seen.left, spec.patch_size) ** 2, -1)
    scores = _SHARPNESS * score[:, 0] + jnp.log(ink.ravel() + _NO_INK)
    votes = _REACH * seen.size * jnp.tanh(vote) + middles
    return Ballot(features.reshape(len(middles), -1), scores, votes)

  def find(params, state, seen: Seen):
    refused, last = state
    refused += seen.refused * near(middles, last, _KERNEL * seen.size)
    ballot = vote(params, seen)
    ballot = ballot._replace(scores=ballot.scores - _REFUSED * refused)
    place, features = mean_shift(ballot, _KERNEL * seen.size)
    size = seen.size
    for i in range(spec.looks):
      window = ratio * jnp.stack([_WIDER * size, *place])
      crop = transformer.crop(seen.left, window, spec.glimpse_size)
      inputs = crop.ravel(), jnp.log(size / seen.size)[None], features
      h, output = run(f'look_{i}', params, jnp.concatenate(inputs))
      place += seen.size * jnp.tanh(output[1:3])
      size = nn.sigmoid(output[0])
    where = _to_canvas(output[0], place, nn.softplus(output[3:]), ratio)
    belongs = near(ballot.votes, place, _BELONGS * seen.size)
    return (refused, place), Found(h, where, _to_pixels(belongs, spec))

  def initial_state(params):
    return jnp.zeros(len(middles)), jnp.zeros(2)

  return Cell(initial_state, lambda params, image: (), find)


def near(
  places: Float[Array | np.ndarray, 'P 2'], place: Float[Array, ' 2'], width: Array
) -> Float[Array, ' P']:
  """In [0, 1], how near places are to one of them, by a Gaussian of this deviation."""
  return jnp.exp(-0.5 * jnp.sum((places - place) ** 2, -1) / width**2)


def mean_shift(
  ballot: Ballot, width: Float[Array, '']
) -> tuple[Float[Array, ' 2'], Float[Array, ' F']]:
  """The place where votes gather near that of the highest score, and the mean features there.

  Args:
    ballot: the votes.
    width: deviation of the kernel, as that of places.
  """
  place = ballot.votes[jnp.argmax(ballot.scores)]
  for _ in range(_SHIFTS):
    distance = jnp.sum((ballot.votes - place) ** 2, -1)
    weights = nn.softmax(ballot.scores - 0.5 * distance / width**2)
    place = weights @ ballot.votes
  return place, weights @ ballot.features


def patch_middles(spec: ModelSpec) -> Float[np.ndarray, 'P 2']:
  """The places of the middles of patches, row by row."""
  number = -(-spec.canvas_size // spec.patch_size)
  pixels = spec.patch_size * (np.arange(number) + 0.5) - spec.canvas_size / 2
  x = np.float32(pixels / (spec.reference_size / 2))
  return np.stack([np.tile(x, number), np.repeat(x, number)], -1)


def _to_pixels(shares: Float[Array, ' P'], spec: ModelSpec) -> Float[Array, 'H W 1']:
  """Numbers of patches, interpolated."""
  number = -(-spec.canvas_size // spec.patch_size)
  side = number * spec.patch_size
  pixels = jax.image.resize(shares.reshape(number, number, 1), (side, side, 1), 'linear')
  return pixels[: spec.canvas_size, : spec.canvas_size]


def _to_canvas(raw_size: Array, place: Array, std: Array, ratio: float) -> Normal:
  """q(z_where) on a canvas on which a reference canvas is `ratio` wide.

  Deviations are those on the reference canvas, to first order.
  """
  size = transformer.rescale(Normal(raw_size, std[0]), ratio)
  middle = jnp.arctanh(jnp.clip(ratio * place, -_EDGE, _EDGE))
  return Normal(
    jnp.concatenate([size.mean[None], middle]), jnp.concatenate([size.std[None], ratio * std[1:]])
  )
