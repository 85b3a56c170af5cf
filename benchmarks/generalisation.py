"""Counts that training never showed: more digits, a number left out, larger canvases.

    python -m benchmarks.generalisation --mnist_dir=FOLDER
        [--folder=runs/generalisation] [--seeds=5] [--steps=6000] [--cells=voting,lstm]
        [--experiments=extrapolation,interpolation] [--sweeps=1] [--held_out=4000] [--jobs=2]
        [--kept=docs/generalisation/results.json]
    python -m benchmarks.generalisation --report     only reports the results so far

Extrapolation: trained on 0-2 digits, tested on 0-2, 3, 4 and 5 of the same canvas, and on 20 of a
canvas of 200x200 pixels. Interpolation: trained on 0, 1 or 3 digits, tested on these and on 2. The
voting cell has configs/generalisation.py, the LSTM configs/multi_mnist.py. The voting cell is also
tested with `model.sweeps` of --sweeps and `objective.prior_end` of 1e-12, on all but the large
canvas. Every test has --held_out scenes, but for the large canvas, which has a twentieth. Finished
runs are kept in the folder, and interrupted ones continue. The report is printed; the results are
written to --kept, with `found.png`, the first scenes as seed 0 parses them, in the same folder.
"""

import itertools
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from absl import flags
from matplotlib.figure import Figure

from benchmarks import jobs
from benchmarks.jobs import Result

_CELLS = flags.DEFINE_list('cells', ['voting', 'lstm'], 'Cells to train.')
_EXPERIMENTS = flags.DEFINE_list(
  'experiments', ['extrapolation', 'interpolation'], 'What to train and test.'
)
_HELD_OUT = flags.DEFINE_integer('held_out', 4000, 'Held-out scenes of a test.', lower_bound=20)
_SWEEPS = flags.DEFINE_integer(
  'sweeps', 1, 'Sweeps of the search that is also tested; 0: none.', lower_bound=0
)
_BENCHMARK = jobs.Benchmark('generalisation', ('experiment', 'cell', 'seed', 'steps', 'sweeps'))
_STEPS = 6000
_PRIOR_END = 1e-12  # with a search: an object costs 28 nats
_DRAWN = 2  # scenes of a test
_TRAINED = {'extrapolation': (), 'interpolation': (0, 1, 3)}  # data.counts
_LARGE = '20 on 200x200'
# What is tested: the keys of the configuration that differ.
_TESTS: dict[str, dict[str, dict[str, Any]]] = {
  'extrapolation': {
    '0-2': {},
    '0-2, T = 6': {'model.max_steps': 6},
    **{str(n): {'data.counts': (n,), 'model.max_steps': 6} for n in (3, 4, 5)},
    _LARGE: {'data.counts': (20,), 'data.canvas_size': 200, 'model.max_steps': 24},
  },
  'interpolation': {
    '0, 1, 3': {},
    '2': {'data.counts': (2,)},
    '2, T = 6': {'data.counts': (2,), 'model.max_steps': 6},
  },
}


def _report() -> str:
  """Trains and tests what is missing, then reports."""
  jobs.check(_CELLS, ('voting', 'lstm'))
  jobs.check(_EXPERIMENTS, _TESTS)
  steps = jobs.STEPS.value or _STEPS
  order = itertools.product(_CELLS.value, _EXPERIMENTS.value, jobs.seeds())
  names = [f'{experiment}/{cell}/{seed}/{steps}' for cell, experiment, seed in order]
  results = _BENCHMARK.run_all(names)
  if _SWEEPS.value:
    results = _BENCHMARK.run_all(f'{name}/{_SWEEPS.value}' for name in names if '/voting/' in name)
  first = _BENCHMARK.folder(f'extrapolation/voting/0/{steps}/run')
  if first.is_dir() and not jobs.REPORT.value:
    _BENCHMARK.keep_figure('found.png', found(first))
  return table(results)


def _run(name: str) -> None:
  """Trains one run and tests it, or tests a trained one with a search."""
  import air_jax
  from air_jax.configs import generalisation, multi_mnist
  from air_jax.data import loading
  from air_jax.evaluation import held_out
  from air_jax.inference import restore

  experiment, cell, seed, steps, *searched = name.split('/')
  workdir = _BENCHMARK.folder(f'{experiment}/{cell}/{seed}/{steps}/run')
  sweeps = int(searched[0]) if searched else 0
  result: Result = {'experiment': experiment, 'cell': cell, 'seed': int(seed), 'steps': int(steps)}
  if sweeps:
    result['sweeps'] = sweeps
  else:
    config = (generalisation if cell == 'voting' else multi_mnist).get_config()
    config.seed = int(seed)
    config.data.update(mnist_dir=jobs.MNIST_DIR.value, counts=_TRAINED[experiment])
    config.data.test_scenes = 1000
    config.train.update(steps=int(steps), eval_every=500, checkpoint_every=1000, draw_every=0)
    summary = air_jax.train(config, workdir, figures=False, progress=False)
    result |= {'elbo': summary['elbo'], 'box_iou': summary['box_iou']}
  search = {'model.sweeps': sweeps, 'objective.prior_end': _PRIOR_END} if sweeps else {}
  result['tests'] = {}
  for test, changes in _TESTS[experiment].items():
    if test == _LARGE and (sweeps or cell == 'lstm'):
      continue  # the LSTM takes images of one size; searching 24 objects takes too long
    scenes = _HELD_OUT.value // 20 if test == _LARGE else _HELD_OUT.value
    run = restore.restore(workdir, changes | search | {'data.test_scenes': scenes})
    model, given = run.model(0), loading.load(run.config.data, 'test')
    _, tested = held_out.evaluate(model.model, model.params, given, 0, run.step)
    known = 'images', 'count_accuracy', 'box_f1', 'predicted_counts'
    result['tests'][test] = {key: tested[key] for key in known}
  jobs.finish(_BENCHMARK.folder(name), result)


def found(workdir: pathlib.Path, tests: Sequence[str] = ('3', '4', '5', _LARGE)) -> Figure:
  """The first scenes of tests with more objects than a run was trained on, as it parses them."""
  from air_jax.data import loading
  from air_jax.inference import restore
  from air_jax.viz.image_grid import ImageGrid

  grid = ImageGrid(2, _DRAWN * len(tests))
  grid.name_row(0, 'input, windows')
  grid.name_row(1, 'reconstruction')
  for i, test in enumerate(tests):
    run = restore.restore(workdir, _TESTS['extrapolation'][test] | {'data.test_scenes': _DRAWN})
    scenes = loading.load(run.config.data, 'test')
    parsed = run.model(0).parse(np.asarray(scenes.images))
    for j, image in enumerate(np.asarray(scenes.images)):
      column, number = _DRAWN * i + j, parsed.counts[j]
      grid.show(0, column, image / np.float32(255))
      grid.title(0, column, f'true {scenes.counts[j]}, found {number}')
      grid.show(1, column, parsed.canvases[j])
      for t, window in enumerate(parsed.windows[j, :number]):
        grid.outline(0, column, window / len(image), t)
  return grid.figure


def table(results: Sequence[Result]) -> str:
  """A Markdown table for each experiment: percent of scenes counted right, seed by seed."""
  lines: list[str] = []
  for experiment, tests in _TESTS.items():
    own = [run for run in results if run['experiment'] == experiment]
    if not own:
      continue
    lines += [
      f'{experiment.capitalize()}, % of scenes counted right (mean; each seed):',
      '',
      f'| cell | steps | sweeps | {" | ".join(tests)} |',
      '|' + (3 + len(tests)) * '---|',
    ]
    groups: dict[tuple[str, int, int], list[Result]] = {}
    for run in sorted(own, key=lambda run: run['seed']):
      groups.setdefault((run['cell'], run['steps'], run.get('sweeps', 0)), []).append(run)
    for (cell, steps, sweeps), group in sorted(groups.items(), reverse=True):
      cells = [_cell(run['tests'].get(test) for run in group) for test in tests]
      lines.append(f'| `{cell}` | {steps:,} | {sweeps} | {" | ".join(cells)} |')
    lines.append('')
  return '\n'.join(lines)


def _cell(tests: Iterable[Result | None]) -> str:
  """Mean and values of all seeds; of scenes with many objects also F1 at a box IoU of 0.5."""
  found = [test for test in tests if test]
  if not found:
    return '-'
  counts = [100 * test['count_accuracy'] for test in found]
  text = f'{statistics.mean(counts):.2f} ({", ".join(f"{count:.2f}" for count in counts)})'
  if len(found[0]['predicted_counts']) > 20:
    text += f'; F1 {statistics.mean(100 * test["box_f1"] for test in found):.1f} %'
  return text


main = jobs.program(_run, _report)

if __name__ == '__main__':
  jobs.start(main)
