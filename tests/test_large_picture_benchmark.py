"""benchmarks.large_picture: what is drawn, and how much of it is found."""

import numpy as np
import pytest
from scipy import ndimage

from benchmarks import large_picture

SIDE, SEED = 200, 3


@pytest.fixture(name='truth')
def _truth():
  labels = np.zeros((SIDE, SIDE), np.int32)
  for number, ((top, left), mask) in enumerate(large_picture.objects(SIDE, SEED), 1):
    labels[top : top + len(mask), left : left + len(mask)][mask] = number
  return labels


def test_objects_lie_apart_and_are_brighter_than_their_ground(truth):
  assert 5 <= truth.max() <= 20
  assert ndimage.label(truth > 0, np.ones((3, 3)))[1] == truth.max()
  picture = large_picture.draw(SIDE, SEED)
  assert picture[truth > 0].min() > np.percentile(picture[truth == 0], 99)
  assert large_picture.draw(SIDE, SEED + 1).tobytes() != picture.tobytes()


def test_what_is_missing_or_found_in_part_or_together_is_not_found(truth):
  number = truth.max()
  assert large_picture.found(truth, SEED) == (number, number)
  assert large_picture.found(np.zeros_like(truth), SEED) == (0, number)
  assert large_picture.found(np.where(truth == 2, 0, truth), SEED) == (number - 1, number)
  assert large_picture.found((truth > 0).astype(np.int32), SEED)[0] == 0
  halves = truth + number * (truth > 0) * (np.arange(SIDE) % 3 == 0)  # two thirds, one third
  assert large_picture.found(halves, SEED) == (number, number)


def test_the_table_says_the_share_that_is_found():
  run = {
    'side': 10_000, 'seed': 0, 'steps': 1500, 'objects': 4000, 'found_objects': 3990,
    'labels': 4001, 'seconds': 1234, 'memory_mb': 1890,
  }  # fmt: skip
  row = large_picture.table([run]).splitlines()[-1]
  assert row == '| 10,000 | 0 | 4,000 | 99.75 | 4,001 | 1,234 | 1,890 |'
