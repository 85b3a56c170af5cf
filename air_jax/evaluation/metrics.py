"""How good an explanation is: pure functions of arrays, for evaluation."""

import math

import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment


def confusion_matrix(truth, predicted, max_true, max_predicted):
  """Counts how often each true count met each predicted one.

  Args:
    truth: [B] integers in 0..max_true.
    predicted: [B] integers in 0..max_predicted.
    max_true: largest true count.
    max_predicted: largest predicted count.

  Returns:
    [max_true + 1, max_predicted + 1] integers, rows true.
  """
  matrix = np.zeros((max_true + 1, max_predicted + 1), np.int64)
  np.add.at(matrix, (np.asarray(truth), np.asarray(predicted)), 1)
  return matrix


def wilson_interval(successes, trials, z=1.96):
  """Interval for a probability from binomial counts (Wilson, 1927).

  Args:
    successes: how many of the trials succeeded.
    trials: how many there were, > 0.
    z: quantile of the normal distribution; 1.96 for 95 %.

  Returns:
    (low, high), within [0, 1].
  """
  share = successes / trials
  centre = share + z**2 / (2 * trials)
  spread = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
  scale = 1 + z**2 / trials
  return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def ink_boxes(pictures, threshold=0.25):
  """The bounding box of what is brighter than a threshold.

  Args:
    pictures: [..., H, W] in [0, 1].
    threshold: least brightness that counts as ink.

  Returns:
    [..., 4] float32 (top, left, height, width) in pixels, 0 where there is no ink; a JAX array.
  """
  ink = jnp.asarray(pictures) > threshold
  sides = []
  for axis in (-1, -2):
    line = ink.any(axis)
    first = line.argmax(-1)
    length = jnp.where(line.any(-1), line.shape[-1] - line[..., ::-1].argmax(-1) - first, 0)
    sides.append((first, length))
  (top, height), (left, width) = sides
  return jnp.stack([top, left, height, width], -1).astype(jnp.float32)


def box_iou(a, b):
  """Intersection over union of every pair of boxes.

  Args:
    a: [N, 4] (top, left, height, width).
    b: [M, 4].

  Returns:
    [N, M] in [0, 1].
  """
  a, b = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[None]
  start = np.maximum(a[..., :2], b[..., :2])
  end = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
  shared = np.maximum(end - start, 0).prod(-1)
  union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared
  return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def matched_iou(truth, predicted):
  """IoU of each true box with the predicted box assigned to it.

  The assignment is one to one and maximises the sum; a true box left without a partner scores 0.

  Args:
    truth: [N, 4] boxes.
    predicted: [M, 4] boxes.

  Returns:
    [N] in [0, 1].
  """
  iou = box_iou(truth, predicted)
  matched = np.zeros(len(iou))
  rows, columns = linear_sum_assignment(iou, maximize=True)
  matched[rows] = iou[rows, columns]
  return matched
