"""How far parsed images lie from held-out ones: the distribution, and what lies outside it.

An image has traits: the energies of itself and of its residual in bands, see
`residuals.band_energies`, and how sure the model is of the looks of its objects. Traits and bound
depend on how much there is to see, so that an image is compared with held-out ones of about as
many objects: those of a group.
"""

import math
from typing import Any, NamedTuple, TypedDict

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from air_jax.evaluation import residuals

MOST = 4000  # held-out images that are measured
DISTANT = 0.02  # share of held-out images that are called unlike by their traits,
POOR = 0.002  # that are by their bound,
REGION = 0.005  # and which are said to have an unexplained region
_LEAST = 100  # held-out images of a group, where there are so many
_PIXEL = (0.5 / 255) ** 2  # of an energy: half a grey level is nothing
_SLACK = 0.05  # of a trait: what differs by less is alike
_NATS = 1.0  # of a bound, likewise
_NOISE = 3.0  # deviations of the residual: a pixel that is less far off is explained
_DIM = 0.1  # share of objects that are said to be dim
_PART = 0.5  # of the contrast of a dim object and of the area of a typical one: may be another
_QUANTILES = 0.0, POOR, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0


class Group(NamedTuple):
  """Held-out images of about as many objects."""

  most: int  # objects: the group goes from the one before it to this count
  mean: Float[np.ndarray, ' F']  # of the traits
  precision: Float[np.ndarray, 'F F']  # the inverse of their covariance
  distance: float  # from the mean, squared, beyond which an image is unlike
  bounds: Float[np.ndarray, ' Q']  # quantiles of the bound, nats


class Reference(NamedTuple):
  """What held-out images are like, for one model."""

  step: int  # of the model
  images: int  # that were measured
  level: float  # of a residual, in [0, 1], from which a pixel is not explained
  area: float  # pixels of the canvas, of the smallest region that is not explained
  groups: tuple[Group, ...]  # by count; the last one also holds larger counts

  def unlike(
    self,
    counts: Int[np.ndarray, ' B'],
    traits: Float[np.ndarray, 'B F'],
    elbo: Float[np.ndarray, ' B'],
  ) -> Bool[np.ndarray, ' B']:
    """Which images lie outside the distribution of held-out ones."""
    found = np.ones(len(counts), bool)
    for group, mine in self._members(counts):
      near = _distances(traits[mine], group.mean, group.precision) <= group.distance
      sound = elbo[mine] >= group.bounds[_QUANTILES.index(POOR)] - _NATS
      found[mine] = ~(near & sound)  # also where a number is not finite
    return found

  def ranks(
    self, counts: Int[np.ndarray, ' B'], elbo: Float[np.ndarray, ' B']
  ) -> Float[np.ndarray, ' B']:
    """The share of held-out images of about as many objects that have a lower bound, in [0, 1]."""
    ranks = np.zeros(len(counts), np.float32)
    for group, mine in self._members(counts):
      ranks[mine] = np.interp(np.nan_to_num(elbo[mine], nan=-np.inf), group.bounds, _QUANTILES)
    return ranks

  def _members(self, counts: np.ndarray) -> list[tuple[Group, np.ndarray]]:
    borders = [group.most for group in self.groups[:-1]]
    own = np.searchsorted(borders, counts)
    return [(group, own == i) for i, group in enumerate(self.groups)]


def traits(
  counts: Int[np.ndarray, ' B'],
  energies: Float[np.ndarray, 'B 2 F'],
  z_what_std: Float[np.ndarray, 'B T D'],
) -> Float[np.ndarray, 'B 2F+2']:
  """The traits of images.

  They are the logarithms of the energies, and that of the mean deviation of a code, of the object
  with the largest and of the one with the smallest; 0 where there is no object.

  Args:
    counts: numbers of objects.
    energies: of image and residual.
    z_what_std: deviations of the codes of the objects.
  """
  flat = energies.reshape(len(energies), energies.shape[1] * energies.shape[2])
  of_energies = np.log(flat.astype(np.float64) + _PIXEL)
  stds = np.log(z_what_std.mean(-1, dtype=np.float64) + 1e-6)
  present = np.arange(stds.shape[1]) < counts[:, None]
  largest = np.max(stds, 1, where=present, initial=-np.inf)
  smallest = np.min(stds, 1, where=present, initial=np.inf)
  sureness = np.where(counts[:, None] > 0, np.stack([largest, smallest], -1), 0.0)
  return np.concatenate([of_energies, sureness], -1)


def measure(
  step: int,
  counts: Int[np.ndarray, ' B'],
  traits: Float[np.ndarray, 'B F'],
  elbo: Float[np.ndarray, ' B'],
  images: UInt8[np.ndarray, 'B H W C'],
  canvases: Float[np.ndarray, 'B H W C'],
  object_areas: Float[np.ndarray, ' M'],
  object_peaks: Float[np.ndarray, ' M'],
) -> Reference:
  """Measures what held-out images are like.

  Every second image gives the mean and the covariance of the traits, the others the distance that
  the share `DISTANT` of images exceeds (split conformal prediction; Papadopoulos et al., 2002). Of
  few images that share is one in their number.

  Args:
    step: of the model.
    counts: that it found.
    traits: of the images, see `traits`.
    elbo: nats.
    images: themselves.
    canvases: their reconstructions.
    object_areas: pixels of each object found.
    object_peaks: the most by which each changes a pixel.
  """
  squares = [
    np.mean((x / np.float32(255) - canvas) ** 2) for x, canvas in zip(images, canvases, strict=True)
  ]
  level = max(_NOISE * float(np.sqrt(np.mean(squares))), 1 / 255)
  least_area = 1.0
  if len(object_areas):
    level = max(level, _PART * float(np.quantile(object_peaks, _DIM)))
    least_area = _PART * float(np.median(object_areas))
  unexplained = (residuals.off(*each, level) for each in zip(images, canvases, strict=True))
  largest = np.array([*map(residuals.largest_region, unexplained)], np.float64)
  area = max(least_area, 1 + _upper(largest, REGION))
  groups, least = [], 0
  for most in _borders(counts):
    mine = (counts >= least) & (counts <= most)
    groups.append(_group(most, traits[mine], elbo[mine]))
    least = most + 1
  return Reference(step, len(counts), level, area, tuple(groups))


def _borders(counts: Int[np.ndarray, ' B']) -> list[int]:
  """The largest count of each group: as few counts in each as give it enough images."""
  numbers = np.bincount(counts)
  borders: list[int] = []
  held = 0
  for count, number in enumerate(numbers):
    held += int(number)
    if held >= _LEAST:
      borders.append(count)
      held = 0
  if not borders:
    return [len(numbers) - 1]
  return [*borders[:-1], len(numbers) - 1]  # the last group takes the rest


def _group(most: int, values: Float[np.ndarray, 'B F'], elbo: Float[np.ndarray, ' B']) -> Group:
  fitted, others = (values[::2], values[1::2]) if len(values) > 1 else (values, values)
  mean = fitted.mean(0)
  spread = np.cov(fitted.T, bias=True) if len(fitted) > 1 else np.zeros((len(mean), len(mean)))
  precision = np.linalg.inv(spread + _SLACK**2 * np.eye(len(mean)))
  # Where all are the same, as empty images are, not every grain is a difference.
  distance = max(float(len(mean)), _upper(_distances(others, mean, precision), DISTANT))
  return Group(most, mean, precision, distance, np.quantile(elbo, _QUANTILES, method='lower'))


def _distances(values: np.ndarray, mean: np.ndarray, precision: np.ndarray) -> np.ndarray:
  """Squared Mahalanobis distances."""
  off = values - mean
  return np.einsum('bi,ij,bj->b', off, precision, off)


def _upper(values: Float[np.ndarray, ' B'], share: float) -> float:
  """What a new value exceeds with at most this probability, or with 1 / (B + 1) if that is more."""
  place = min(len(values), math.ceil((1 - share) * (len(values) + 1)))
  return float(np.sort(values)[place - 1])


class GroupForm(TypedDict):
  """`Group` in JSON."""

  most: int
  mean: list[float]
  precision: list[list[float]]
  distance: float
  bounds: list[float]


class ReferenceForm(TypedDict):
  """`Reference` in JSON."""

  step: int
  images: int
  level: float
  area: float
  groups: list[GroupForm]


def to_json(reference: Reference) -> dict[str, Any]:
  """A reference, ready for JSON."""
  groups = [
    group._asdict()
    | {
      'mean': group.mean.tolist(),
      'precision': group.precision.tolist(),
      'bounds': group.bounds.tolist(),
    }
    for group in reference.groups
  ]
  return reference._asdict() | {'groups': groups}


def from_json(known: Any) -> Reference:
  """The reference that `to_json` gave.

  Raises:
    ValueError: its parts do not fit together.
  """
  groups = tuple(
    Group(
      each['most'],
      np.array(each['mean'], float),
      np.array(each['precision'], float),
      each['distance'],
      np.array(each['bounds'], float),
    )
    for each in known['groups']
  )
  number = 2 * residuals.BANDS + 2
  shapes = [(x.mean.shape, x.precision.shape, x.bounds.shape) for x in groups]
  if not groups or set(shapes) != {((number,), (number, number), (len(_QUANTILES),))}:
    raise ValueError('its groups are incomplete')
  return Reference(known['step'], known['images'], known['level'], known['area'], groups)
