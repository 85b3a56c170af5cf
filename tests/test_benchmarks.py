"""What the comparison of estimators makes of finished runs."""

import json
import math

import numpy as np
from absl import flags
from absl.testing import flagsaver

from benchmarks import estimators


def _run(objective, seed, accuracies, seconds_a_step=0.01, layout='disjoint'):
  curve = [[500 * (i + 1), accuracy] for i, accuracy in enumerate(accuracies)]
  return {
    'layout': layout, 'objective': objective, 'seed': seed, 'steps': 500 * len(curve),
    'count_accuracy': accuracies[-1], 'elbo': -seed, 'bound_100': 1.0, 'bound_1000': 2.0,
    'curve': curve, 'seconds_a_step': seconds_a_step,
  }  # fmt: skip


RUNS = [
  _run('exact', 0, [0.9, 0.96, 0.985]),
  _run('exact', 1, [0.96, 0.97, 0.97]),
  _run('exact', 2, [0.4, 0.5, 0.6]),
  _run('nvil', 0, [0.5, 0.7, 0.96], seconds_a_step=0.02),
]


def _rows(results):
  lines = [line.split(' | ') for line in estimators._table(results).splitlines()]
  return {line[0].strip('| `'): line[1:] for line in lines}


def test_table_counts_failures_and_takes_medians():
  rows = _rows(RUNS)
  assert rows['exact'][:3] == ['3', '2', '98.50, 97.00, 60.00']
  # Two of three got to 95 %, the later of them at 1,000; one of three got to 98 %.
  assert rows['exact'][-2:] == ['1,000 / - / -', '10 |']
  assert rows['nvil'][:3] == ['1', '1', '96.00']
  # What exact does in 15 s leaves it 750 steps: half the way from 50 to 70 %.
  assert rows['nvil'][3] == '60.00'
  assert '(`exact` trains 15 s)' in estimators._table(RUNS)


def test_layouts_are_told_apart():
  table = estimators._table([*RUNS, _run('mvd', 0, [0.5], layout='touching')])
  head, tail = table.split('touching, 500 steps')
  assert 'mvd' in tail and 'mvd' not in head and 'nan' in tail


def test_curves_show_every_run_over_steps_and_seconds():
  figure = estimators._curves(RUNS)
  steps, seconds = figure.axes
  assert len(steps.lines) == len(seconds.lines) == 4
  (legend,) = figure.legends
  assert [label.get_text() for label in legend.get_texts()] == ['exact', 'nvil']
  np.testing.assert_allclose(steps.lines[0].get_ydata(), [0.1, 0.04, 0.015])
  assert max(seconds.lines[-1].get_xdata()) == 30 and max(steps.lines[-1].get_xdata()) == 1500


def test_kept_results_count_as_finished_and_new_ones_replace_them(tmp_path):
  kept, folder = tmp_path / 'kept.json', tmp_path / 'runs'
  kept.write_text(json.dumps(RUNS))
  new = _run('exact', 1, [0.1, 0.2, 0.3])
  path = folder / 'disjoint' / 'exact' / '1' / 'result.json'
  path.parent.mkdir(parents=True)
  path.write_text(json.dumps(new))
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])
  with flagsaver.flagsaver(folder=str(folder), kept=str(kept)):
    assert estimators._results() == [RUNS[0], new, RUNS[2], RUNS[3]]
  with flagsaver.flagsaver(folder=str(folder), kept=''):
    assert estimators._results() == [new]


def test_a_level_never_reached_is_no_number():
  assert estimators._median_steps(RUNS[2:3], 0.95) == '-'
  assert not math.isnan(estimators._accuracy_after(RUNS[0], 1e9))
