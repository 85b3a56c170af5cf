"""Counts of objects in pictures against the truth: a pure function of the counts."""

from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Int

from air_jax.evaluation import metrics


def summary(truth: Int[ArrayLike, ' B'], found: Int[ArrayLike, ' B']) -> dict[str, Any]:
  """How well the counts of pictures agree, as a dict for JSON.

  Args:
    truth: true counts of at least one picture, >= 0.
    found: found counts.

  Returns:
    `pictures`; `count_accuracy`, the part of pictures whose count is exact,
    `count_accuracy_interval`, [low, high] of its 95 % interval, and `accuracy_by_count`, by the
    true count; `mean_true_count` and `mean_found_count`; `total_error_percent`, 100 (sum of found -
    sum of true) / sum of true, left out where that is 0; `mean_absolute_error`, in objects;
    `count_correlation`, Pearson's, left out where the true or the found counts do not vary;
    `commonest_count`, the true count of most pictures (the smallest of these), and
    `commonest_accuracy`, the accuracy of always saying it.

  Raises:
    ValueError: there are no pictures, or not as many found counts as true ones.
  """
  a, b = np.asarray(truth, np.int64), np.asarray(found, np.int64)
  if not len(a) or a.shape != b.shape:
    raise ValueError(
      f'{a.shape} true and {b.shape} found counts; there must be as many, at least 1'
    )
  exact = int((a == b).sum())
  counts, pictures = np.unique(a, return_counts=True)
  result: dict[str, Any] = {
    'pictures': len(a),
    'accuracy_by_count': {str(n): float((b[a == n] == n).mean()) for n in counts},
    'count_accuracy': exact / len(a),
    'count_accuracy_interval': [*metrics.wilson_interval(exact, len(a))],
    'mean_true_count': float(a.mean()),
    'mean_found_count': float(b.mean()),
    'mean_absolute_error': float(np.abs(a - b).mean()),
    'commonest_count': int(counts[pictures.argmax()]),
    'commonest_accuracy': float(pictures.max() / len(a)),
  }
  if total := int(a.sum()):
    result['total_error_percent'] = 100 * (int(b.sum()) - total) / total
  if np.ptp(a) and np.ptp(b):
    result['count_correlation'] = float(np.corrcoef(a, b)[0, 1])
  return result
