"""Found objects against true ones, in pictures of any size and with any number of objects.

Masks come as label images: 0 is the background, and every other number is one object. Numbers need
not be consecutive, and those of the truth and of what is found need not agree. Letters: H W pixels,
M true and N found objects, K matched pairs.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse
from jaxtyping import ArrayLike, Float, Int
from scipy.sparse import csgraph

from air_jax.evaluation import metrics

_STRIP = 1 << 22  # pixels that are compared at once
_PART = 256  # true boxes that are compared at once


class Matches(NamedTuple):
  """One-to-one matches of the objects of one picture."""

  true: int  # M, number of true objects
  found: int  # N, number of found objects
  pairs: Int[np.ndarray, 'K 2']  # (true, found): labels of masks, indices of boxes and points
  ious: Float[np.ndarray, ' K']  # of each pair; NaN for a point in its object


def pixel_pairs(
  truth: Int[np.ndarray, 'H W'], found: Int[np.ndarray, 'H W']
) -> tuple[Int[np.ndarray, ' P'], Int[np.ndarray, ' P'], Int[np.ndarray, ' P']]:
  """The sparse contingency table of two label images.

  Args:
    truth: labels in 0..2^31 - 1.
    found: labels in 0..2^31 - 1.

  Returns:
    (true label, found label, number of pixels) of each pair of labels that occurs, background
    included, in the order of the true and then of the found labels.

  Raises:
    ValueError: the images differ in size, or a label is out of range.
  """
  if truth.shape != found.shape:
    raise ValueError(f'label images of {truth.shape} and {found.shape} pixels; sizes must agree')
  codes, pixels = [], []
  rows = max(1, _STRIP // max(1, truth.shape[1]))
  for top in range(0, truth.shape[0] if truth.size else 0, rows):
    a, b = (np.ravel(image[top : top + rows]).astype(np.int64) for image in (truth, found))
    if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= 2**31:
      raise ValueError('a label is out of range; labels must be in 0..2147483647')
    code = a << 32 | b
    # Labels are constant over runs of pixels: sorting the runs takes less than sorting the pixels.
    starts = np.flatnonzero(np.concatenate([[True], code[1:] != code[:-1]]))
    code, lengths = _totals(code[starts], np.diff(starts, append=len(code)))
    codes.append(code)
    pixels.append(lengths)
  empty = np.zeros(0, np.int64)
  code, total = _totals(np.concatenate([empty, *codes]), np.concatenate([empty, *pixels]))
  return code >> 32, code & 0xFFFFFFFF, total


def _totals(
  codes: Int[np.ndarray, ' R'], numbers: Int[np.ndarray, ' R']
) -> tuple[Int[np.ndarray, ' P'], Int[np.ndarray, ' P']]:
  """Distinct codes, and the sum of the numbers of each."""
  distinct, where = np.unique(codes, return_inverse=True)
  totals = np.zeros(len(distinct), np.int64)
  np.add.at(totals, where, numbers)
  return distinct, totals


def match_masks(
  truth: Int[np.ndarray, 'H W'], found: Int[np.ndarray, 'H W'], threshold: float = 0.5
) -> Matches:
  """Matches objects whose masks have an IoU of at least the threshold.

  Of all one-to-one assignments it takes one with the most matches and, among these, with the
  largest sum of IoU. Above an IoU of 0.5 there is only one.

  Args:
    truth: label image of true objects.
    found: label image of found objects.
    threshold: in (0, 1].

  Raises:
    ValueError: as `pixel_pairs`.
  """
  true_of, found_of, pixels = pixel_pairs(truth, found)
  true_labels, row = np.unique(true_of, return_inverse=True)
  found_labels, column = np.unique(found_of, return_inverse=True)
  true_area, found_area = np.zeros(len(true_labels)), np.zeros(len(found_labels))
  np.add.at(true_area, row, pixels)
  np.add.at(found_area, column, pixels)
  iou = pixels / (true_area[row] + found_area[column] - pixels)
  near = (true_of > 0) & (found_of > 0) & (iou >= threshold)
  row, column, iou = row[near], column[near], iou[near]
  chosen = _assign(row, column, iou)
  pairs = np.stack([true_labels[row[chosen]], found_labels[column[chosen]]], 1)
  return Matches(int((true_labels > 0).sum()), int((found_labels > 0).sum()), pairs, iou[chosen])


def match_boxes(
  truth: Float[ArrayLike, 'M 4'], found: Float[ArrayLike, 'N 4'], threshold: float = 0.5
) -> Matches:
  """Matches boxes with an IoU of at least the threshold, by the rule of `match_masks`.

  Args:
    truth: (top, left, height, width) of true objects, in pixels.
    found: those of found objects.
    threshold: in (0, 1].
  """
  truth, found = (np.reshape(np.asarray(each, np.float64), (-1, 4)) for each in (truth, found))
  rows, columns, ious = [], [], []
  for some, near in _parts(truth, found):
    iou = metrics.box_iou(truth[some], found[near])
    row, column = np.nonzero(iou >= threshold)
    rows.append(some[row])
    columns.append(near[column])
    ious.append(iou[row, column])
  row, column, iou = _joined(rows), _joined(columns), np.concatenate([np.zeros(0), *ious])
  chosen = _assign(row, column, iou)
  return Matches(len(truth), len(found), np.stack([row, column], 1)[chosen], iou[chosen])


def match_points(points: Float[ArrayLike, 'M 2'], found: Int[np.ndarray, 'H W']) -> Matches:
  """Matches true points with the found masks that they lie in; a mask takes its first point.

  Args:
    points: (down, right) in pixels from the top left corner of the picture; those outside belong
      to the nearest pixel.
    found: label image of found objects.

  Raises:
    ValueError: a label is out of range.
  """
  points = np.reshape(np.asarray(points, np.float64), (-1, 2))
  number = int((np.unique(pixel_pairs(found, found)[0]) > 0).sum())
  if not found.size or not len(points):
    return Matches(len(points), number, np.zeros((0, 2), np.int64), np.zeros(0))
  pixel = np.clip(np.floor(points), 0, np.array(found.shape) - 1).astype(np.int64)
  hit = found[pixel[:, 0], pixel[:, 1]].astype(np.int64)
  label, first = np.unique(hit, return_index=True)
  pairs = np.stack([first, label], 1)[label > 0]
  return Matches(len(points), number, pairs[np.argsort(pairs[:, 0])], np.full(len(pairs), np.nan))


def match_points_to_boxes(
  points: Float[ArrayLike, 'M 2'], found: Float[ArrayLike, 'N 4']
) -> Matches:
  """Matches as many true points as possible with found boxes that they lie in, edges included.

  Args:
    points: (down, right) in pixels.
    found: (top, left, height, width) in pixels.
  """
  points = np.reshape(np.asarray(points, np.float64), (-1, 2))
  found = np.reshape(np.asarray(found, np.float64), (-1, 4))
  rows, columns = [], []
  for some, near in _parts(np.pad(points, ((0, 0), (0, 2))), found):
    offset = points[some, None] - found[None, near, :2]
    row, column = np.nonzero(((offset >= 0) & (offset <= found[None, near, 2:])).all(-1))
    rows.append(some[row])
    columns.append(near[column])
  row, column = _joined(rows), _joined(columns)
  graph = scipy.sparse.csr_array(
    (np.ones(len(row), np.int8), (row, column)), shape=(len(points), len(found))
  )
  pairs = np.zeros((0, 2), np.int64)
  if graph.nnz:
    partner = csgraph.maximum_bipartite_matching(graph, perm_type='column')
    pairs = np.stack([np.arange(len(points)), partner], 1)[partner >= 0]
  return Matches(len(points), len(found), pairs, np.full(len(pairs), np.nan))


def _parts(
  truth: Float[np.ndarray, 'M 4'], found: Float[np.ndarray, 'N 4']
) -> Iterator[tuple[Int[np.ndarray, ' m'], Int[np.ndarray, ' n']]]:
  """Indices of some true boxes at a time and of the found ones at their height, edges included."""
  order = np.argsort(truth[:, 0], kind='stable')
  for start in range(0, len(truth), _PART):
    some = order[start : start + _PART]
    top, bottom = truth[some, 0].min(), (truth[some, 0] + truth[some, 2]).max()
    yield some, np.flatnonzero((found[:, 0] <= bottom) & (found[:, 0] + found[:, 2] >= top))


def _joined(parts: Sequence[np.ndarray]) -> Int[np.ndarray, ' R']:
  return np.concatenate([np.zeros(0, np.int64), *parts])


def _assign(
  row: Int[np.ndarray, ' R'], column: Int[np.ndarray, ' R'], score: Float[np.ndarray, ' R']
) -> Int[np.ndarray, ' K']:
  """Indices of the pairs of the best one-to-one assignment, in the order of the rows.

  Args:
    row: of each pair that may be matched, no pair twice.
    column: of each pair.
    score: of each pair, in (0, 1].
  """
  if not len(row):
    return np.zeros(0, np.int64)
  # Objects that compete for each other are few: each group is assigned on its own.
  rows = int(row.max()) + 1
  nodes = rows + int(column.max()) + 1
  graph = scipy.sparse.coo_array((np.ones(len(row), np.int8), (row, rows + column)), (nodes, nodes))
  _, group = csgraph.connected_components(graph, directed=False)
  order = np.argsort(group[row], kind='stable')
  bounds = np.flatnonzero(np.diff(group[row][order])) + 1
  chosen: list[int] = []
  for pairs in np.split(order, bounds):
    if len(pairs) == 1:
      chosen.append(int(pairs[0]))
      continue
    _, i = np.unique(row[pairs], return_inverse=True)
    _, j = np.unique(column[pairs], return_inverse=True)
    value = np.zeros((i.max() + 1, j.max() + 1))
    value[i, j] = min(value.shape) + score[pairs]  # one more match outweighs all scores
    index = np.full(value.shape, -1)
    index[i, j] = pairs
    of_best = index[metrics.match(value)]
    chosen += of_best[of_best >= 0].tolist()
  return np.array(sorted(chosen, key=lambda pair: row[pair]), np.int64)


def quality(matched: int, true: int, found: int) -> dict[str, float]:
  """Precision, recall and F1 of detections.

  Args:
    matched: number of pairs.
    true: number of true objects.
    found: number of found objects.

  Returns:
    `precision`, left out where nothing is found; `recall`, left out where there is nothing to
    find; `f1`; and `detection_accuracy`, matched / (matched + missed + wrong), which StarDist's
    authors call average precision (Schmidt et al., 2018). The last two are 1 where there is
    neither a true nor a found object.
  """
  result = {'precision': matched / found} if found else {}
  result |= {'recall': matched / true} if true else {}
  joint = true + found - matched
  return result | {
    'f1': metrics.f1(matched, true, found),
    'detection_accuracy': matched / joint if joint else 1.0,
  }


def summary(matches: Sequence[Matches]) -> dict[str, float]:
  """Quality of the detections in several pictures, as a flat dict for JSON.

  Args:
    matches: of each picture, at least one.

  Returns:
    `located_pictures`, the number of pictures; `true_objects`, `found_objects`, `matched_objects`;
    the entries of `quality` for the objects of all pictures together; `mean_f1`, the mean over
    pictures; and `matched_iou`, the mean over matched masks or boxes, left out where there is none.
  """
  true, found = sum(each.true for each in matches), sum(each.found for each in matches)
  matched = sum(len(each.pairs) for each in matches)
  ious = np.concatenate([each.ious for each in matches])
  ious = ious[np.isfinite(ious)]
  each_f1 = [metrics.f1(len(each.pairs), each.true, each.found) for each in matches]
  result: dict[str, float] = {
    'located_pictures': len(matches),
    'true_objects': true,
    'found_objects': found,
    'matched_objects': matched,
  }
  result |= quality(matched, true, found) | {'mean_f1': float(np.mean(each_f1))}
  return result | {'matched_iou': float(ious.mean())} if len(ious) else result
