"""The benchmark of counting and telling apart: its table, and a small run."""

import json

import pytest
from absl import flags
from absl.testing import flagsaver
from ml_collections import ConfigDict

from air_jax.configs import tiny
from air_jax.errors import UserError
from benchmarks import segmentation


@pytest.fixture(autouse=True)
def parsed():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])


def _run(seed, counted, compositing='over', steps=100):
  others = {key: 0.5 for key in segmentation._SHOWN}
  return {
    'configuration': 'tetrominoes', 'compositing': compositing, 'seed': seed, 'steps': steps,
    **others, 'count_accuracy': counted, 'mask_iou': counted / 2,
  }  # fmt: skip


def test_a_row_has_means_and_each_seed_in_order():
  runs = [_run(1, 0.9), _run(0, 0.8), _run(0, 0.3, 'add'), _run(0, 0.7, steps=200)]
  rows = [
    [cell.strip() for cell in line.split('|')] for line in segmentation.table(runs).split('\n')
  ]
  assert rows[0][1:6] == ['configuration', 'compositing', 'steps', 'counted right', 'box F1']
  assert [row[1:5] for row in rows[2:]] == [
    ['`tetrominoes`', 'over', '200', '70.00 (70.00)'],
    ['`tetrominoes`', 'over', '100', '85.00 (80.00, 90.00)'],
    ['`tetrominoes`', 'add', '100', '30.00 (30.00)'],
  ]
  assert rows[3][8] == '42.50' and len(rows[3]) == len(rows[0])


def test_unknown_configurations_are_refused_before_anything_is_trained():
  with (
    flagsaver.flagsaver(configurations=['tetrominoes', 'cubes']),
    pytest.raises(UserError, match=r"--configurations: 'cubes' is none of .*tetrominoes"),
  ):
    segmentation.main.__wrapped__([])


@pytest.mark.slow
def test_a_run_is_tested_as_trained_and_by_a_search(tmp_path, monkeypatch, scene_cache):
  config = ConfigDict(tiny.get_config().to_dict())
  config.data.cache_dir = scene_cache
  config.data.test_scenes = 32
  config.model.update(max_steps=2, patch_rounds=0)  # takes less time to compile
  config.objective.name = 'exact'
  monkeypatch.setattr(tiny, 'get_config', lambda: config)
  with flagsaver.flagsaver(folder=str(tmp_path), search=True, kept=''):
    segmentation._run('tiny/over/1/3')
    results = segmentation._BENCHMARK.results()
  assert [segmentation._BENCHMARK.name_of(result) for result in results] == [
    'tiny/over/1/3', 'tiny/over, search/1/3',
  ]  # fmt: skip
  for result in results:
    assert result.keys() >= segmentation._SHOWN.keys() and result['images'] == 32
  kept = json.loads((tmp_path / 'tiny/over/1/3/run/config.json').read_text())
  assert kept['model']['compositing'] == 'over' and kept['seed'] == 1
  figure = segmentation.found(tmp_path / 'tiny/over/1/3/run')
  assert len(figure.axes[0].images) == 4 * segmentation._DRAWN
