"""Counts against hand-made cases and SciPy."""

import json

import pytest
import scipy.stats

from air_jax.evaluation import metrics, picture_counts


def test_counts_of_pictures():
  truth, found = [1, 3, 3, 0, 5, 3], [1, 3, 4, 0, 2, 1]
  ours = picture_counts.summary(truth, found)
  low, high = metrics.wilson_interval(3, 6)
  assert ours == pytest.approx({
    'pictures': 6, 'count_accuracy': 3 / 6, 'count_accuracy_low': low, 'count_accuracy_high': high,
    'mean_true_count': 15 / 6, 'mean_found_count': 11 / 6, 'total_error_percent': -100 * 4 / 15,
    'mean_absolute_error': (1 + 3 + 2) / 6, 'commonest_count': 3, 'commonest_accuracy': 3 / 6,
    'count_correlation': scipy.stats.pearsonr(truth, found).statistic,
  })  # fmt: skip
  assert json.loads(json.dumps(ours)) == ours


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
