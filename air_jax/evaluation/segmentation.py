"""Quality of segmentations: pure functions of label images, for evaluation.

A label image says what each pixel belongs to: 0 is the background, k + 1 is object k. The labels of
the truth and of a prediction need not agree: they are compared through the table of how many pixels
have each pair of labels. Letters: B images, P pixels, M and N most true and predicted objects.
"""

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int

from air_jax.evaluation import metrics

IOU_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10))  # of COCO
_RECALLS = np.linspace(0, 1, 101)  # at which COCO reads the precision


def contingency(
  truth: Int[ArrayLike, 'B P'], predicted: Int[ArrayLike, 'B P'], true: int, found: int
) -> Int[np.ndarray, 'B M+1 N+1']:
  """Number of pixels of each image with each pair of true label (row) and predicted label (column).

  Args:
    truth: labels in 0..true.
    predicted: labels in 0..found.
    true: M.
    found: N.
  """
  shape = true + 1, found + 1
  tables = [
    np.bincount(t.astype(np.int32) * shape[1] + p, minlength=shape[0] * shape[1]).reshape(shape)
    for t, p in zip(np.asarray(truth), np.asarray(predicted), strict=True)
  ]
  return np.stack(tables)


def adjusted_rand_index(tables: Int[np.ndarray, 'B R C']) -> Float[np.ndarray, ' B']:
  """Agreement of two partitions of pixels: 1 where equal, 0 in the mean of random ones.

  Hubert and Arabie, "Comparing partitions", 1985. Without the row of the background it is what the
  literature on scenes calls ARI-FG: over the pixels of true objects alone, where what is predicted
  as background is one more cluster.

  Args:
    tables: number of pixels with each pair of labels.

  Returns:
    at most 1, and 1 where both partitions have one cluster; NaN where there is no pixel.
  """

  def pairs(counts):
    return (counts * (counts - 1.0)).sum(-1) / 2

  pixels = tables.sum((1, 2))
  images, rows, columns = tables.shape
  both = pairs(tables.reshape(images, rows * columns))
  of_rows, of_columns = pairs(tables.sum(2)), pairs(tables.sum(1))
  expected = of_rows * of_columns / np.maximum(pairs(pixels[:, None]), 1.0)
  highest = (of_rows + of_columns) / 2
  trivial = highest == expected
  index = np.where(trivial, 1.0, (both - expected) / np.where(trivial, 1.0, highest - expected))
  return np.where(pixels > 0, index, np.nan)


def mask_iou(tables: Int[np.ndarray, 'B M+1 N+1']) -> Float[np.ndarray, 'B M N']:
  """Intersection over union, in [0, 1], of the masks of every true and every predicted object."""
  shared = tables[:, 1:, 1:].astype(np.float64)
  union = tables.sum(2)[:, 1:, None] + tables.sum(1)[:, None, 1:] - shared
  return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def average_precision(
  ious: Float[np.ndarray, 'B M N'],
  visible: Bool[np.ndarray, 'B M'],
  confidences: Float[np.ndarray, 'B N'],
  threshold: float,
) -> float:
  """Area under the curve of precision over recall, as COCO defines it, for one class.

  Over all images, objects are taken in the order of their confidence. One is right if its IoU with
  a true object that is not taken yet is at least the threshold; it takes the best of these.

  Args:
    ious: of true and predicted objects.
    visible: which true objects there are.
    confidences: of the predicted objects, -inf where there is none.
    threshold: least IoU of an object that is found.

  Returns:
    in [0, 1], the mean of the interpolated precision at 101 recalls; NaN without true objects.
  """
  if not visible.any():
    return float('nan')
  images, free = np.arange(len(ious)), visible.copy()
  right = np.zeros(confidences.shape, bool)
  for predicted in np.argsort(-confidences, axis=1, kind='stable').T:
    candidates = np.where(free, ious[images, :, predicted], -1.0)
    best = candidates.argmax(1)
    hit = (candidates[images, best] >= threshold) & np.isfinite(confidences[images, predicted])
    right[images, predicted] = hit
    free[images[hit], best[hit]] = False
  present = np.isfinite(confidences)
  order = np.argsort(-confidences[present], kind='stable')
  hits = np.cumsum(right[present][order])
  recall, precision = hits / visible.sum(), hits / np.arange(1, len(hits) + 1)
  # The best precision at this recall or beyond, 0 at recalls that are not reached.
  highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
  return float(highest[np.searchsorted(recall, _RECALLS)].mean())


def summary(
  tables: Int[np.ndarray, 'B M+1 N+1'], confidences: Float[np.ndarray, 'B N']
) -> dict[str, float]:
  """The metrics of the literature on object-centred scenes, over all images.

  Args:
    tables: from `contingency`.
    confidences: of the predicted objects, -inf where there is none.

  Returns:
    `ari`, the mean over images of the index over all pixels; `mask_iou`, the mean over true objects
    of the IoU with the object that `metrics.match` assigns, 0 where missed; `ap_50`, the average
    precision at an IoU of 0.5, and `ap`, its mean over 0.5, 0.55, ..., 0.95; `ari_fg`, the mean of
    the index over pixels of true objects, over images with at least two: one object alone is no
    partition, and a single pixel that is missed would make its index 0. What needs true objects
    is left out where there are none.
  """
  visible = tables[:, 1:].sum(2) > 0
  found = {'ari': float(np.nanmean(adjusted_rand_index(tables)))}
  if not visible.any():
    return found
  ious = mask_iou(tables)
  assigned = [metrics.assigned(iou[there]) for iou, there in zip(ious, visible, strict=True)]
  precisions = [average_precision(ious, visible, confidences, t) for t in IOU_THRESHOLDS]
  found |= {
    'mask_iou': float(np.concatenate(assigned).mean()),
    'ap_50': precisions[0],
    'ap': float(np.mean(precisions)),
  }
  indices = foreground_indices(tables)
  return found | {'ari_fg': float(indices.mean())} if len(indices) else found


def foreground_indices(tables: Int[np.ndarray, 'B M+1 N+1']) -> Float[np.ndarray, ' b']:
  """The index over pixels of true objects, of the images with at least two objects."""
  several = (tables[:, 1:].sum(2) > 0).sum(1) >= 2
  return adjusted_rand_index(tables[several, 1:])
