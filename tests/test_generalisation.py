"""The benchmark of counts that training never showed: what it tests, and its tables."""

import pytest
from absl import flags
from absl.testing import flagsaver

import air_jax
from air_jax.config import adaptation, schema
from air_jax.configs import generalisation as configuration
from air_jax.configs import tiny
from air_jax.errors import UserError
from benchmarks import generalisation


@pytest.mark.parametrize('experiment', generalisation._TESTS)
def test_every_test_is_one_that_the_trained_model_can_take(experiment):
  config = configuration.get_config()
  config.data.counts = generalisation._TRAINED[experiment]
  for changes in generalisation._TESTS[experiment].values():
    adaptation.adapt(schema.parse(config), changes)
  seen = schema.parse(config).data.drawn_counts
  assert seen == ((0, 1, 3) if experiment == 'interpolation' else (0, 1, 2))


def result(seed, three, f1=None):
  tests = {
    name: {'count_accuracy': 0.9, 'box_f1': 0.5, 'predicted_counts': [0] * 4}
    for name in generalisation._TESTS['extrapolation']
  }
  tests['3']['count_accuracy'] = three
  if f1 is None:
    del tests['20 on 200x200']
  else:
    tests['20 on 200x200'] |= {'box_f1': f1, 'predicted_counts': [0] * 25}
  return {
    'experiment': 'extrapolation', 'cell': 'lstm' if f1 is None else 'voting', 'seed': seed,
    'steps': 6000, 'tests': tests,
  }  # fmt: skip


def test_table_has_mean_and_seeds_in_order_and_f1_of_many():
  text = generalisation.table([result(1, 0.97, 0.9), result(0, 0.95, 0.8), result(0, 0.1)])
  rows = [line.split(' | ') for line in text.splitlines() if line.startswith('| `')]
  assert [row[0] for row in rows] == ['| `voting`', '| `lstm`']
  assert rows[0][5] == '96.00 (95.00, 97.00)'
  assert rows[0][-1] == '90.00 (90.00, 90.00); F1 85.0 % |'
  assert rows[1][5] == '10.00 (10.00)' and rows[1][-1] == '- |'
  assert 'Interpolation' not in text


def test_unknown_cells_are_refused():
  flags.FLAGS.mark_as_parsed()
  with flagsaver.flagsaver(cells=['gru']), pytest.raises(UserError, match="--cells: 'gru' is none"):
    generalisation.main.__wrapped__([])


def test_the_figure_shows_the_first_scenes_of_each_test(tmp_path, monkeypatch):
  config = tiny.get_config()
  config.model.cell, config.train.steps = 'voting', 1
  air_jax.train(config, tmp_path, figures=False, progress=False)
  changes = {'data.counts': (2,), 'data.canvas_size': 60}
  monkeypatch.setitem(generalisation._TESTS['extrapolation'], '2 on 60x60', changes)
  (axis,) = generalisation.found(tmp_path, ['2 on 60x60']).axes
  written = [text.get_text() for text in axis.texts]
  assert sum(text.startswith('true 2, found ') for text in written) == 2
  assert len(axis.images) == 4
