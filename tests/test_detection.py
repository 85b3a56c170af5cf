"""Detections against brute force over pixels and assignments, and hand-made cases."""

import itertools
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from air_jax.evaluation import detection, metrics

_images = st.integers(0, 2**32 - 1).map(lambda seed: related(np.random.default_rng(seed)))
_box = st.tuples(*(2 * [st.integers(0, 6)] + 2 * [st.integers(1, 4)]))
_boxes = st.lists(_box, max_size=4)
_points = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=4)
thresholds = st.sampled_from([0.1, 0.3, 0.5, 0.75, 1.0])
check = settings(derandomize=True, deadline=None, max_examples=60)


def related(rng):
  """Two label images of up to 4 objects that agree in parts, under odd numbers."""
  truth = np.repeat(np.repeat(rng.integers(0, 5, (3, 3)), 2, 0), 3, 1)
  kept = rng.random(truth.shape) < rng.random()
  found = np.where(kept, truth, rng.integers(0, 5, truth.shape))
  return np.array([0, 7, 3, 2**31 - 1, 900])[truth], np.array([0, 5, 70_000, 1, 2])[found]


def ious_of(truth, found):
  """IoU by label, pixel by pixel."""
  result = {}
  for t in set(truth.ravel().tolist()) - {0}:
    for f in set(found.ravel().tolist()) - {0}:
      a, b = truth == t, found == f
      result[t, f] = (a & b).sum() / (a | b).sum()
  return result


def best_assignment(pairs, true, found):
  """(matches, sum of scores) of the best of all assignments; pairs maps allowed ones to scores."""
  true, found = list(true), list(found)
  found += [None] * len(true)
  totals = []
  for order in itertools.permutations(found, len(true)):
    scores = [pairs[pair] for pair in zip(true, order, strict=True) if pair in pairs]
    totals.append((len(scores), round(sum(scores), 9)))
  return max(totals)


def assert_best(matches, pairs, true, found):
  assert (matches.true, matches.found) == (len(true), len(found))
  expected = best_assignment(pairs, true, found)
  scores = np.nan_to_num(matches.ious, nan=1.0)  # of points
  assert (len(matches.pairs), round(scores.sum(), 9)) == expected
  for (t, f), score in zip(matches.pairs.tolist(), scores, strict=True):
    assert score == pytest.approx(pairs[t, f])
  assert all(len(set(side)) == len(side) for side in matches.pairs.T.tolist())
  assert matches.pairs[:, 0].tolist() == sorted(matches.pairs[:, 0].tolist())


@check
@given(_images)
def test_pixel_pairs_count_pixels(images):
  truth, found = images
  expected = {}
  for pair in zip(truth.ravel().tolist(), found.ravel().tolist(), strict=True):
    expected[pair] = expected.get(pair, 0) + 1
  ours = np.stack(detection.pixel_pairs(truth, found), 1).tolist()
  assert [((t, f), n) for t, f, n in ours] == sorted(expected.items())


def test_pixel_pairs_of_many_strips_are_those_of_one(monkeypatch):
  truth, found = related(np.random.default_rng(3))
  whole = detection.pixel_pairs(truth, found)
  for pixels in (1, 9, 20):
    monkeypatch.setattr(detection, '_STRIP', pixels)
    np.testing.assert_array_equal(detection.pixel_pairs(truth, found), whole)


@check
@given(_images, thresholds)
def test_masks_get_the_best_of_all_assignments(images, threshold):
  truth, found = images
  true_labels, found_labels = (set(image.ravel().tolist()) - {0} for image in images)
  pairs = {pair: iou for pair, iou in ious_of(truth, found).items() if iou >= threshold}
  matches = detection.match_masks(truth, found, threshold)
  assert_best(matches, pairs, true_labels, found_labels)
  if threshold > 0.5:
    assert {tuple(pair) for pair in matches.pairs.tolist()} == pairs.keys()


@check
@given(_images, thresholds)
def test_masks_match_the_same_way_both_ways_and_under_other_numbers(images, threshold):
  truth, found = images
  matches = detection.match_masks(truth, found, threshold)
  back = detection.match_masks(found, truth, threshold)
  assert (back.true, back.found) == (matches.found, matches.true)
  assert back.ious.sum() == pytest.approx(matches.ious.sum())
  assert len(back.pairs) == len(matches.pairs)
  renamed = detection.match_masks(np.where(truth, 2**31 - truth, 0), found, threshold)
  assert sorted(renamed.ious) == pytest.approx(sorted(matches.ious))
  itself = detection.match_masks(truth, truth, threshold)
  assert (itself.pairs[:, 0] == itself.pairs[:, 1]).all() and len(itself.pairs) == matches.true


def test_more_matches_go_before_a_larger_iou():
  # 1 and 8 share 9 of 11 pixels; 1 and 9 share 1 of 10, and 2 and 8 share 1 of 11.
  truth = np.array([[1] * 10 + [2, 2]])
  found = np.array([[9] + [8] * 10 + [0]])
  matches = detection.match_masks(truth, found, 0.05)
  assert matches.pairs.tolist() == [[1, 9], [2, 8]]
  np.testing.assert_allclose(matches.ious, [1 / 10, 1 / 11])
  assert detection.match_masks(truth, found, 0.5).pairs.tolist() == [[1, 8]]


def test_label_images_that_cannot_be_compared_are_refused():
  with pytest.raises(ValueError, match=r'\(2, 3\) and \(3, 2\) pixels; sizes must agree'):
    detection.match_masks(np.zeros((2, 3), int), np.zeros((3, 2), int))
  for label in (-1, 2**31):
    with pytest.raises(ValueError, match='out of range'):
      detection.match_masks(np.zeros((1, 2), int), np.array([[0, label]]))


@check
@given(_boxes, _boxes, thresholds)
def test_boxes_get_the_best_of_all_assignments(truth, found, threshold):
  iou = metrics.box_iou(np.reshape(truth, (-1, 4)), np.reshape(found, (-1, 4)))
  pairs = {(i, j): iou[i, j] for i, j in zip(*np.nonzero(iou >= threshold), strict=True)}
  matches = detection.match_boxes(truth, found, threshold)
  assert_best(matches, pairs, range(len(truth)), range(len(found)))


@check
@given(_points, _boxes)
def test_points_match_as_many_boxes_as_possible(points, boxes):
  pairs = {}
  for (i, (y, x)), (j, (top, left, height, width)) in itertools.product(
    enumerate(points), enumerate(boxes)
  ):
    if top <= y <= top + height and left <= x <= left + width:
      pairs[i, j] = 1.0
  matches = detection.match_points_to_boxes(points, boxes)
  assert_best(matches, pairs, range(len(points)), range(len(boxes)))


def test_pairs_of_many_parts_are_those_of_one(monkeypatch):
  rng = np.random.default_rng(0)
  truth = np.concatenate([rng.uniform(0, 40, (30, 2)), rng.uniform(2, 9, (30, 2))], 1)
  found = truth[rng.permutation(30)] + rng.normal(0, 1, (30, 4))

  def both():
    return detection.match_boxes(truth, found), detection.match_points_to_boxes(truth[:, :2], found)

  whole = both()
  assert len(whole[0].pairs) > 5 < len(whole[1].pairs)
  monkeypatch.setattr(detection, '_PART', 4)
  for ours, theirs in zip(both(), whole, strict=True):
    np.testing.assert_array_equal(ours.pairs, theirs.pairs)


def test_a_mask_takes_the_first_of_the_points_in_it():
  found = np.array([[0, 0, 4], [9, 9, 4]])
  points = [(0.9, 0.9), (1.0, 1.99), (1.5, 0.2), (0.2, 2.0), (2.0, 3.0)]
  matches = detection.match_points(points, found)
  assert matches.pairs.tolist() == [[1, 9], [3, 4]] and np.isnan(matches.ious).all()
  assert (matches.true, matches.found) == (5, 2)
  nothing = detection.match_points([], found)
  assert nothing[:2] == (0, 2) and nothing.pairs.shape == (0, 2) and nothing.ious.shape == (0,)
  assert detection.match_points(points, np.zeros((2, 3), int))[:2] == (5, 0)


def test_pictures_without_objects():
  nothing, one = np.zeros((2, 2), int), np.eye(2, dtype=int)
  both = detection.summary([detection.match_masks(nothing, nothing)])
  assert both == {
    'located_pictures': 1, 'true_objects': 0, 'found_objects': 0, 'matched_objects': 0, 'f1': 1.0,
    'detection_accuracy': 1.0, 'mean_f1': 1.0,
  }  # fmt: skip
  missed = detection.summary([detection.match_masks(one, nothing)])
  assert missed['recall'] == missed['f1'] == 0 and 'precision' not in missed
  wrong = detection.summary([detection.match_masks(nothing, one)])
  assert wrong['precision'] == wrong['f1'] == 0 and 'recall' not in wrong
  assert detection.match_masks(nothing[:0], nothing[:0])[:2] == (0, 0)


def test_summary_pools_objects_and_averages_pictures():
  pairs = np.array([[1, 1], [2, 2], [3, 3]])
  matches = [
    detection.Matches(4, 3, pairs, np.array([0.6, 0.7, 0.8])),
    detection.Matches(2, 1, pairs[:0], np.zeros(0)),
  ]
  found = detection.summary(matches)
  assert found == pytest.approx(
    {
      'located_pictures': 2, 'true_objects': 6, 'found_objects': 4, 'matched_objects': 3,
      'precision': 3 / 4, 'recall': 3 / 6, 'f1': 6 / 10, 'detection_accuracy': 3 / 7,
      'mean_f1': (6 / 7 + 0) / 2, 'matched_iou': 0.7,
    }
  )  # fmt: skip
  assert json.loads(json.dumps(found)) == found
  of_points = detection.summary([detection.match_points([(0, 0), (0, 1)], np.eye(2, dtype=int))])
  assert of_points['recall'] == 1 / 2 and 'matched_iou' not in of_points


def test_thousands_of_objects_take_seconds():
  # 10,000 squares of 9x9 pixels in 1000x1000; every found one is shifted by a pixel.
  cell = np.zeros((10, 10), int)
  cell[:9, :9] = 1
  truth = np.kron(np.arange(1, 10_001).reshape(100, 100), cell)
  corners = 10 * np.argwhere(np.ones((100, 100)))
  boxes = np.concatenate([corners, np.full((10_000, 2), 9)], 1)
  start = time.process_time()
  of_masks = detection.match_masks(truth, np.roll(truth, 1, 1))
  of_boxes = detection.match_boxes(boxes, boxes + [0, 1, 0, 0])
  of_points = detection.match_points(corners + 4, truth)
  to_boxes = detection.match_points_to_boxes(corners + 4, boxes)
  assert time.process_time() - start < 30
  for matches in (of_masks, of_boxes):
    np.testing.assert_allclose(matches.ious, 72 / 90)
  for matches in (of_masks, of_boxes, of_points, to_boxes):
    assert len(matches.pairs) == matches.true == matches.found == 10_000
    assert len(set((matches.pairs[:, 0] - matches.pairs[:, 1]).tolist())) == 1
