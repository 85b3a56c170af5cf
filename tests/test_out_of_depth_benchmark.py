"""benchmarks.out_of_depth: the kinds of scenes, what is counted, and its table."""

import numpy as np
import pytest
import samples

from benchmarks import out_of_depth


def test_shares_of_wrong_and_of_right_answers_are_apart():
  right, flags = np.array([1, 1, 1, 0, 0], bool), np.array([1, 0, 0, 1, 1], bool)
  assert out_of_depth.flagged(right, flags) == {
    'images': 5,
    'count_accuracy': 0.6,
    'wrong': 2,
    'flagged': 0.6,
    'wrong_flagged': 1.0,
    'right_flagged': pytest.approx(1 / 3),
  }
  none = out_of_depth.flagged(right[:3], flags[:3])
  assert none['wrong_flagged'] is None and none['wrong'] == 0


@pytest.fixture(scope='module')
def scenes(scene_cache):
  data = samples.data_config(test_scenes=30, max_objects=2, cache_dir=scene_cache)
  return {kind: (images, truth) for kind, images, truth in out_of_depth.scenes_of(data)}


def test_copies_show_the_same_objects(scenes):
  images, truth = scenes['held out']
  for kind in ('inverted', 'noise of 0.02', 'noise of 0.5', 'brightness of 0.5'):
    assert (scenes[kind][1] == truth).all() and scenes[kind][0].dtype == np.uint8
  np.testing.assert_array_equal(scenes['inverted'][0], 255 - images)
  dark = images == 0
  noise = scenes['noise of 0.1'][0][dark] / 255
  assert np.mean(noise == 0) == pytest.approx(0.5, abs=0.03)  # half of it is cut off
  assert np.sqrt(2 * np.mean(noise**2)) == pytest.approx(0.1, rel=0.05)


def test_sizes_are_as_said(scenes):
  def ink(kind):
    images, truth = scenes[kind]
    return images.sum() / 255 / truth.sum()

  whole = ink('held out')
  assert ink('half size') == pytest.approx(whole / 4, rel=0.15)
  assert ink('1.5 times the size') == pytest.approx(whole * 2.25, rel=0.15)
  assert ink('twice the size') == pytest.approx(whole * 4, rel=0.2)


def test_the_table_has_a_row_for_each_kind_with_the_values_of_all_seeds():
  def result(seed, wrong):
    kind = {
      'images': 100, 'count_accuracy': 1 - wrong / 100, 'wrong': wrong, 'flagged': 0.01,
      'wrong_flagged': 0.5 if wrong else None, 'right_flagged': 0.005, 'calibration_error': 0.004,
    }  # fmt: skip
    return {'steps': 2000, 'seed': seed, 'kinds': {'held out': kind, 'inverted': kind}}

  lines = out_of_depth.table([result(1, 4), result(0, 0)]).splitlines()
  assert lines[0].startswith('2,000 steps, seeds 0, 1, 100 scenes') and '0.4, 0.4 %' in lines[0]
  cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines[4:]]
  assert cells[0] == ['held out', '100.0, 96.0', '0, 4', '-, 50.0', '0.5, 0.5', '1.0, 1.0']
  assert [row[0] for row in cells] == ['held out', 'inverted']
