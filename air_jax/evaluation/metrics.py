"""Quality of explanations: pure functions of arrays, for evaluation."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, UInt16


class Calibration(NamedTuple):
  """The M bins of a reliability diagram; means of empty bins are 0."""

  images: Int[np.ndarray, ' M']  # how many are in the bin
  confidence: Float[np.ndarray, ' M']  # mean probability of the answer, in [0, 1]
  accuracy: Float[np.ndarray, ' M']  # share of right answers, in [0, 1]


def confusion_matrix(
  truth: Int[ArrayLike, ' B'], predicted: Int[ArrayLike, ' B'], max_true: int, max_predicted: int
) -> Int[np.ndarray, 'max_true+1 max_predicted+1']:
  """Number of images with each pair of true count (row) and predicted count (column).

  Args:
    truth: in 0..max_true.
    predicted: in 0..max_predicted.
    max_true: largest true count.
    max_predicted: largest predicted count.
  """
  matrix = np.zeros((max_true + 1, max_predicted + 1), np.int64)
  np.add.at(matrix, (np.asarray(truth), np.asarray(predicted)), 1)
  return matrix


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
  """Confidence interval of a probability from binomial counts (Wilson, 1927).

  Equal to `scipy.stats.binomtest(...).proportion_ci(method='wilson')`; importing scipy.stats
  alone takes 0.6 s.

  Args:
    successes: number of the trials that succeeded.
    trials: > 0.
    z: quantile of the normal distribution; 1.96 gives 95 %.

  Returns:
    (low, high), within [0, 1].
  """
  rate = successes / trials
  centre = rate + z**2 / (2 * trials)
  spread = z * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
  scale = 1 + z**2 / trials
  return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def calibration(
  confidence: Float[ArrayLike, ' B'], correct: Bool[ArrayLike, ' B'], bins: int = 15
) -> Calibration:
  """Bins of equal width by the probability of the answer: bin m is (m / M, (m + 1) / M].

  Args:
    confidence: probability of each answer, in [0, 1]; NaN, of a model that diverged, counts as 0.
    correct: whether it was right.
    bins: M >= 1; 15 are those of Guo et al. (ICML 2017).
  """
  confidence = np.nan_to_num(np.asarray(confidence, np.float64))
  own = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
  images = np.bincount(own, minlength=bins)
  confidence, accuracy = (
    np.bincount(own, values, bins) / np.maximum(images, 1)
    for values in (confidence, np.asarray(correct, np.float64))
  )
  return Calibration(images, confidence, accuracy)


def calibration_error(found: Calibration) -> float:
  """Expected calibration error, in [0, 1] (Guo et al., ICML 2017, arXiv:1706.04599).

      ECE = sum_m images_m / images |accuracy_m - confidence_m|

  0 where no bin holds an image.
  """
  gaps = np.abs(found.accuracy - found.confidence)
  return float(found.images @ gaps / max(found.images.sum(), 1))


def chance_error(truth: Int[ArrayLike, ' B']) -> float | None:
  """Share of images that are miscounted by always answering the commonest count.

  Args:
    truth: true counts, -1 where not known; those are left out.

  Returns:
    in [0, 1); None where no count is known.
  """
  known = np.asarray(truth)[np.asarray(truth) >= 0]
  return 1 - float(np.bincount(known).max()) / len(known) if len(known) else None


def ink_boxes(
  pictures: Float[ArrayLike, '*batch H W'], threshold: Float[ArrayLike, '*batch'] | float = 0.25
) -> Float[Array, '*batch 4']:
  """Bounding boxes of the pixels that are brighter than a threshold.

  Args:
    pictures: in [0, 1].
    threshold: greatest brightness that is not ink, of each picture or of all.

  Returns:
    float32 (top, left, height, width) in pixels, 0 where there is no ink.
  """
  ink = jnp.asarray(pictures) > jnp.asarray(threshold)[..., None, None]
  sides = []
  for axis in (-1, -2):
    line = ink.any(axis)
    first = line.argmax(-1)
    length = jnp.where(line.any(-1), line.shape[-1] - line[..., ::-1].argmax(-1) - first, 0)
    sides.append((first, length))
  (top, height), (left, width) = sides
  return jnp.stack([top, left, height, width], -1).astype(jnp.float32)


def ink_segments(
  layers: Float[ArrayLike, 'T H W'],
  count: Int[ArrayLike, ''],
  threshold: Float[ArrayLike, '*T'] | float = 0.25,
) -> UInt16[Array, 'H W']:
  """A label image: t + 1 for the brightest layer, 0 where none is brighter than its threshold.

  Args:
    layers: in [0, 1], of T objects.
    count: the number of layers that count, the first ones.
    threshold: greatest brightness that is not ink, of each layer or of all.
  """
  layers = jnp.asarray(layers)
  present = jnp.arange(len(layers)) < count
  seen = present[:, None, None] & (layers > jnp.asarray(threshold)[..., None, None])
  ink = jnp.where(seen, layers, 0.0)
  return jnp.where(ink.any(0), ink.argmax(0) + 1, 0).astype(jnp.uint16)


def share_of_peak(
  layers: Float[ArrayLike, '*batch H W'], share: float, least: float = 0.02
) -> Float[Array, '*batch']:
  """A threshold for each layer, as a share of its greatest brightness; `least` is no ink at all."""
  return jnp.maximum(share * jnp.asarray(layers).max((-2, -1)), least)


def background_share(
  background: Float[ArrayLike, 'H W C'],
  additions: Float[ArrayLike, 'T H W C'],
  count: Int[ArrayLike, ''],
) -> Float[Array, '']:
  """In [0, 1], how much of what is painted beyond one colour is painted by the background.

      share = sum |b - median b| / (sum |b - median b| + sum of |additions of the objects present|)

  Near 1 the background explains the objects away. 0 where nothing is painted.

  Args:
    background: b.
    additions: what each object adds to the canvas.
    count: the number of objects that are present, the first ones.
  """
  background, additions = jnp.asarray(background), jnp.asarray(additions)
  behind = jnp.abs(background - jnp.median(background, (0, 1))).sum()
  present = jnp.arange(len(additions)) < count
  painted = behind + jnp.abs(additions).sum((1, 2, 3)) @ present
  return jnp.where(painted > 0, behind / jnp.where(painted > 0, painted, 1.0), 0.0)


def box_iou(a: Float[ArrayLike, 'N 4'], b: Float[ArrayLike, 'M 4']) -> Float[np.ndarray, 'N M']:
  """Intersection over union, in [0, 1], of every pair of boxes (top, left, height, width)."""
  a, b = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[None]
  start = np.maximum(a[..., :2], b[..., :2])
  end = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
  shared = np.maximum(end - start, 0).prod(-1)
  union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared
  return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def match(iou: Float[np.ndarray, 'N M']) -> tuple[np.ndarray, np.ndarray]:
  """The one-to-one assignment with the largest sum of IoU: (rows, columns)."""
  from scipy.optimize import linear_sum_assignment  # 0.4 s to import

  return linear_sum_assignment(iou, maximize=True)


def assigned(iou: Float[np.ndarray, 'N M']) -> Float[np.ndarray, ' N']:
  """IoU of each row with the column that `match` assigns to it, 0 where it has none."""
  found = np.zeros(len(iou))
  rows, columns = match(iou)
  found[rows] = iou[rows, columns]
  return found


def matched_iou(
  truth: Float[ArrayLike, 'N 4'], predicted: Float[ArrayLike, 'M 4']
) -> Float[np.ndarray, ' N']:
  """IoU of each true box with the predicted box that `match` assigns to it, 0 where it has none."""
  return assigned(box_iou(truth, predicted))


def f1(found: int, true: int, predicted: int) -> float:
  """Harmonic mean of recall, found / true, and precision, found / predicted.

  Args:
    found: true objects that a predicted one is matched to.
    true: number of true objects.
    predicted: number of predicted objects.

  Returns:
    in [0, 1]; 1 where there is neither a true nor a predicted object.
  """
  return 2 * found / (true + predicted) if true + predicted else 1.0
