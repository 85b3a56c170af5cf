"""Metrics against hand-made cases, SciPy and brute force."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from air_jax.evaluation import metrics

_box = st.tuples(*(2 * [st.integers(0, 6)] + 2 * [st.integers(0, 4)]))
_boxes = st.lists(_box, min_size=1, max_size=4).map(lambda rows: np.array(rows, np.float64))


def test_confusion_matrix_has_the_truth_in_its_rows():
  matrix = metrics.confusion_matrix([0, 1, 1, 1, 2], [0, 3, 3, 1, 0], 2, 3)
  np.testing.assert_array_equal(matrix, [[1, 0, 0, 0], [0, 1, 0, 2], [1, 0, 0, 0]])


def test_wilson_interval_is_that_of_scipy():
  for successes, trials in ((8, 10), (1, 300), (0, 20), (20, 20)):
    theirs = scipy.stats.binomtest(successes, trials).proportion_ci(0.95, 'wilson')
    ours = metrics.wilson_interval(successes, trials, z=scipy.stats.norm.ppf(0.975))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    assert 0 <= ours[0] <= ours[1] <= 1


def test_wilson_interval_covers_95_percent_by_default():
  np.testing.assert_allclose(metrics.wilson_interval(8, 10), (0.4902, 0.9433), atol=1e-4)


@pytest.mark.parametrize('bins', [1, 4, 15])
def test_calibration_is_that_of_a_loop_over_the_images(bins):
  rng = np.random.default_rng(0)
  confidence = np.concatenate([rng.beta(4, 1, 500), [0.0, 1.0, 1.0], np.arange(1, 5) / 4])
  correct = rng.random(len(confidence)) < confidence**2
  in_bin = [[] for _ in range(bins)]
  for p, right in zip(confidence, correct, strict=True):
    edges = [m for m in range(bins) if m / bins < p <= (m + 1) / bins]
    in_bin[edges[0] if edges else 0].append((p, right))  # 0 belongs to the first
  found = metrics.calibration(confidence, correct, bins)
  assert found.images.tolist() == [len(each) for each in in_bin]
  means = [np.mean(each, 0) if each else np.zeros(2) for each in in_bin]
  np.testing.assert_allclose(np.transpose(found[1:]), means, atol=1e-12)
  error = sum(len(each) * abs(b - a) for each, (a, b) in zip(in_bin, means, strict=True))
  assert metrics.calibration_error(found) == pytest.approx(error / len(confidence))
  assert metrics.calibration_error(metrics.calibration([], [], bins)) == 0.0
  assert metrics.calibration_error(metrics.calibration([np.nan], [True], bins)) == 1.0


def test_calibrated_answers_have_little_error_and_overconfident_ones_much():
  rng = np.random.default_rng(0)
  confidence = rng.uniform(0.3, 1, 100_000)
  correct = rng.random(len(confidence)) < confidence
  assert metrics.calibration_error(metrics.calibration(confidence, correct)) < 0.01
  over = metrics.calibration(np.ones(len(confidence)), correct)
  assert metrics.calibration_error(over) == pytest.approx(0.35, abs=0.01)


def test_chance_always_answers_the_commonest_of_the_known_counts():
  assert metrics.chance_error([0, 2, 2, 1, -1, -1, -1]) == 0.5
  assert metrics.chance_error([3, 3]) == 0.0
  assert metrics.chance_error([-1, -1]) is None and metrics.chance_error([]) is None


def test_ink_boxes_bound_pixels_brighter_than_the_threshold():
  pictures = np.zeros((2, 2, 6, 8))
  pictures[0, 0, 2, 5] = 0.3
  pictures[0, 1, 1:4, 2:7] = 1.0
  pictures[1, 0, 0, 7] = pictures[1, 0, 5, 3] = 1.0
  pictures[1, 1] = 0.25
  boxes = metrics.ink_boxes(pictures)
  np.testing.assert_array_equal(boxes, [[[2, 5, 1, 1], [1, 2, 3, 5]], [[0, 3, 6, 5], [0, 0, 0, 0]]])
  np.testing.assert_array_equal(metrics.ink_boxes(pictures[1, 1], 0.2), [0, 0, 6, 8])
  assert boxes.dtype == np.float32


def test_box_iou_of_boxes_that_match_overlap_touch_and_are_empty():
  a = [(0, 0, 4, 4), (1, 2, 0, 0)]
  b = [(0, 0, 4, 4), (2, 1, 4, 3), (4, 0, 4, 4), (1, 1, 2, 2), (1, 2, 0, 0), (9, 9, 2, 2)]
  np.testing.assert_allclose(metrics.box_iou(a, b), [[1, 6 / 22, 0, 4 / 16, 0, 0], 6 * [0]])


def test_matched_iou_leaves_a_true_box_without_partner_at_zero():
  truth = [(0, 0, 4, 4), (10, 10, 4, 4)]
  np.testing.assert_array_equal(metrics.matched_iou(truth, [(10, 10, 4, 2)]), [0, 0.5])
  np.testing.assert_array_equal(metrics.matched_iou(truth, np.zeros((0, 4))), [0, 0])
  np.testing.assert_array_equal(metrics.matched_iou(np.zeros((0, 4)), truth), [])


def test_f1_is_the_harmonic_mean_of_recall_and_precision():
  for found, true, predicted in ((3, 4, 6), (4, 4, 4), (1, 7, 2)):
    expected = 2 / (true / found + predicted / found)
    assert metrics.f1(found, true, predicted) == pytest.approx(expected)
  assert metrics.f1(0, 3, 0) == metrics.f1(0, 0, 3) == 0.0
  assert metrics.f1(0, 0, 0) == 1.0


@settings(derandomize=True, deadline=None)
@given(_boxes, _boxes)
def test_matched_iou_is_the_best_of_all_assignments(truth, predicted):
  iou = np.zeros((4, 4))  # with partners of no overlap, so that every assignment is a permutation
  iou[: len(truth), : len(predicted)] = metrics.box_iou(truth, predicted)
  candidates = [iou[range(4), order] for order in itertools.permutations(range(4))]
  best = max(candidate.sum() for candidate in candidates)
  ours = metrics.matched_iou(truth, predicted)
  np.testing.assert_allclose(ours.sum(), best, atol=1e-12)
  assert any(np.allclose(ours, candidate[: len(truth)]) for candidate in candidates)


def test_the_share_of_the_background_is_of_all_that_is_painted_beyond_one_colour():
  background = np.full((4, 4, 2), 0.5)
  additions = np.zeros((3, 4, 4, 2))
  assert metrics.background_share(background, additions, 3) == 0
  background[0, :2, 1] = 0.9  # 0.8 in all
  assert metrics.background_share(background, additions, 3) == 1
  additions[0, 1, 1], additions[1, 2, :2], additions[2] = 0.3, -0.2, 9  # 0.6, 0.8
  shares = [metrics.background_share(background, additions, count) for count in (0, 1, 2)]
  np.testing.assert_allclose(shares, [1, 0.8 / 1.4, 0.8 / 2.2], rtol=1e-6)


def test_segments_are_of_the_brightest_layer_that_counts():
  layers = np.zeros((3, 2, 3), np.float32)
  layers[0, 0] = 0.3, 0.6, 0.25
  layers[1, 0] = 0.5, 0.6, 0.2
  layers[2] = 1.0
  found = metrics.ink_segments(layers, 2)
  assert found.tolist() == [[2, 1, 0], [0, 0, 0]]
  assert metrics.ink_segments(layers, 3).tolist() == [[3, 3, 3], [3, 3, 3]]
  assert not metrics.ink_segments(layers, 0).any()
