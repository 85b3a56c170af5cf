"""Counts against hand-made cases and SciPy."""

import json

import numpy as np
import pytest
import scipy.stats

from air_jax.evaluation import detection, metrics, picture_counts, tables


def test_counts_of_pictures():
  truth, found = [1, 3, 3, 0, 5, 3], [1, 3, 4, 0, 2, 1]
  ours = picture_counts.summary(truth, found)
  assert json.loads(json.dumps(ours)) == ours
  assert ours.pop('count_accuracy_interval') == [*metrics.wilson_interval(3, 6)]
  assert ours.pop('accuracy_by_count') == {'0': 1.0, '1': 1.0, '3': 1 / 3, '5': 0.0}
  assert ours == pytest.approx({
    'pictures': 6, 'count_accuracy': 3 / 6, 'mean_true_count': 15 / 6, 'mean_found_count': 11 / 6,
    'total_error_percent': -100 * 4 / 15, 'mean_absolute_error': (1 + 3 + 2) / 6,
    'commonest_count': 3, 'commonest_accuracy': 3 / 6,
    'count_correlation': scipy.stats.pearsonr(truth, found).statistic,
  })  # fmt: skip


@pytest.mark.parametrize(
  'truth, found', [([2, 2, 2], [1, 2, 3]), ([1, 2, 3], [2, 2, 2]), ([4], [5])]
)
def test_counts_that_do_not_vary_have_no_correlation(truth, found):
  assert 'count_correlation' not in picture_counts.summary(truth, found)


def test_the_commonest_count_is_the_smallest_of_equally_common_ones():
  ours = picture_counts.summary([4, 1, 4, 1, 2], [0, 0, 0, 0, 0])
  assert ours['commonest_count'] == 1 and ours['commonest_accuracy'] == 2 / 5


def test_empty_pictures_have_no_error_in_percent():
  ours = picture_counts.summary([0, 0], [0, 1])
  assert 'total_error_percent' not in ours and ours['mean_absolute_error'] == 0.5


@pytest.mark.parametrize('truth, found', [([], []), ([1, 2], [1])])
def test_counts_must_be_as_many(truth, found):
  with pytest.raises(ValueError, match='there must be as many, at least 1'):
    picture_counts.summary(truth, found)


def test_the_table_of_pictures_shows_what_is_known():
  pairs = np.array([[1, 1], [2, 2], [3, 3]])
  matches = [detection.Matches(4, 3, pairs, np.array([0.6, 0.7, 0.8]))]
  counts = picture_counts.summary([4, 1200], [3, 1200])
  shown = tables.of_pictures(detection.summary(matches) | counts)
  assert shown.splitlines() == [
    'pictures                      2   with a true count',
    'count accuracy           50.00%   (95 % interval 9.45% .. 90.55%)',
    '  commonest count        50.00%   by always saying 4',
    'objects per picture      601.50   true 602.00',
    'absolute error             0.50   objects, mean',
    'error of the total         -0.1   %',
    'correlation               1.000   of counts',
    'pictures                      1   with known true objects',
    'objects matched               3   of 4 true, 3 found',
    'precision                 1.000',
    'recall                    0.750',
    'F1                        0.857   mean of pictures 0.857',
    'detection accuracy        0.750   matched / (matched + missed + wrong)',
    'IoU of matches            0.700   mean',
  ]
  empty = tables.of_pictures(picture_counts.summary([0], [0]))
  assert 'total' not in empty and 'correlation' not in empty and 'F1' not in empty
  nothing = [detection.Matches(0, 0, pairs[:0], np.zeros(0))]
  assert 'precision' not in tables.of_pictures(detection.summary(nothing))
