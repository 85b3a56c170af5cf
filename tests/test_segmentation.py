"""Metrics of segmentations against scikit-learn and against their definitions, pixel by pixel."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from air_jax.evaluation import segmentation


@pytest.fixture(scope='module')
def labels():
  """True and predicted label images, of up to 3 and 4 objects; some images lack some."""
  rng = np.random.default_rng(0)
  truth = rng.integers(0, rng.integers(1, 5, (30, 1)), (30, 60))
  # Related, so that some objects match well and others do not.
  predicted = np.where(rng.random((30, 60)) < rng.random((30, 1)), (truth + 1) % 5, 0)
  return truth, predicted


@pytest.fixture(scope='module')
def tables(labels):
  return segmentation.contingency(*labels, 3, 4)


def test_contingency_counts_pairs_of_labels(labels, tables):
  truth, predicted = labels
  for i in range(4):
    for j in range(5):
      expected = ((truth == i) & (predicted == j)).sum(1)
      np.testing.assert_array_equal(tables[:, i, j], expected)


def test_rand_index_is_that_of_scikit_learn(labels, tables):
  expected = [adjusted_rand_score(*each) for each in zip(*labels, strict=True)]
  np.testing.assert_allclose(segmentation.adjusted_rand_index(tables), expected, atol=1e-12)
  assert min(expected) < 0.2 and max(expected) > 0.8


def test_rand_index_of_objects_leaves_out_the_true_background(labels, tables):
  found = segmentation.adjusted_rand_index(tables[:, 1:])
  for index, truth, predicted in zip(found, *labels, strict=True):
    if (truth > 0).any():
      expected = adjusted_rand_score(truth[truth > 0], predicted[truth > 0])
      np.testing.assert_allclose(index, expected, atol=1e-12)
    else:
      assert np.isnan(index)
  assert np.isnan(found).any()


def test_mask_iou_is_shared_over_joint_pixels(labels, tables):
  ious = segmentation.mask_iou(tables)
  assert ious.shape == (30, 3, 4)
  for iou, truth, predicted in zip(ious, *labels, strict=True):
    for m in range(3):
      for n in range(4):
        a, b = truth == m + 1, predicted == n + 1
        joint = (a | b).sum()
        assert iou[m, n] == pytest.approx((a & b).sum() / joint if joint else 0.0)


def coco_precision(ious, visible, confidences, threshold):
  """By the words of COCO's protocol: one by one, then the best precision from each recall on."""
  ranked = []
  for iou, there, confidence in zip(ious, visible, confidences, strict=True):
    free = set(np.flatnonzero(there))
    for n in sorted(np.flatnonzero(confidence > -np.inf), key=lambda n: -confidence[n]):
      best = max(free, key=lambda m: iou[m, n], default=None)
      right = best is not None and iou[best, n] >= threshold
      if right:
        free.remove(best)
      ranked.append((confidence[n], right))
  ranked.sort(key=lambda pair: -pair[0])
  points, hits = [], 0
  for i, (_, right) in enumerate(ranked):
    hits += right
    points.append((hits / visible.sum(), hits / (i + 1)))
  return np.mean(
    [max((p for r, p in points if r >= at), default=0) for at in np.linspace(0, 1, 101)]
  )


def test_average_precision_is_that_of_the_protocol_of_coco(tables):
  rng = np.random.default_rng(1)
  ious, visible = segmentation.mask_iou(tables), tables[:, 1:].sum(2) > 0
  confidences = np.where(rng.random((30, 4)) < 0.8, rng.random((30, 4)), -np.inf)
  found = []
  for threshold in (0.1, 0.3, 0.5, 0.7, 0.9):
    found.append(segmentation.average_precision(ious, visible, confidences, threshold))
    expected = coco_precision(ious, visible, confidences, threshold)
    assert found[-1] == pytest.approx(expected, abs=1e-12)
  assert found == sorted(found, reverse=True) and 0.1 < found[2] < 0.9


def test_a_perfect_segmentation_under_other_names():
  truth = np.array([[0, 1, 1, 2, 2, 2], [0, 0, 0, 0, 1, 1]])
  predicted = np.array([[0, 3, 3, 1, 1, 1], [0, 0, 0, 0, 2, 2]])
  confidences = np.array([[0.9, -np.inf, 0.9], [-np.inf, 0.9, -np.inf]])
  tables = segmentation.contingency(truth, predicted, 2, 3)
  assert segmentation.summary(tables, confidences) == {
    'ari': 1.0, 'ari_fg': 1.0, 'mask_iou': 1.0, 'ap_50': 1.0, 'ap': 1.0,
  }  # fmt: skip


def test_one_object_for_two_true_ones():
  truth, predicted = np.array([[0, 0, 1, 1, 1, 2, 2, 2]]), np.array([[0, 0, 1, 1, 1, 1, 1, 1]])
  tables = segmentation.contingency(truth, predicted, 2, 2)
  found = segmentation.summary(tables, np.array([[0.9, -np.inf]]))
  assert found['ari_fg'] == 0.0  # as good as no partition
  assert found['mask_iou'] == pytest.approx((0.5 + 0.0) / 2)
  # Right at an IoU of 0.5 alone, at half of the recalls: 0, 0.01, ..., 0.5.
  assert found['ap_50'] == pytest.approx(51 / 101)
  assert found['ap'] == pytest.approx(51 / 1010)


def test_one_object_alone_is_no_partition_to_agree_with():
  truth, predicted = np.array([[0, 1, 1, 1], [0, 1, 2, 2]]), np.array([[0, 0, 1, 1], [0, 1, 2, 2]])
  confidences = np.array([[0.9, -np.inf], [0.9, 0.9]])
  tables = segmentation.contingency(truth, predicted, 2, 2)
  assert segmentation.summary(tables, confidences)['ari_fg'] == 1.0  # of the second image
  alone = segmentation.summary(tables[:1], confidences[:1])
  assert 'ari_fg' not in alone and alone['mask_iou'] == pytest.approx(2 / 3)


def test_scenes_without_objects_have_no_metrics_of_objects():
  tables = segmentation.contingency(np.zeros((2, 9), int), np.eye(2, 9, dtype=int), 1, 1)
  assert segmentation.summary(tables, np.full((2, 1), -np.inf)) == {'ari': 0.0}
