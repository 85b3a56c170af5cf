"""Every objective on the same model, data and budget: which counts best, how soon, how surely.

    python -m benchmarks.estimators --mnist_dir=FOLDER
        [--folder=runs/estimators] [--layouts=disjoint,touching] [--objectives=exact,nvil,...]
        [--seeds=3] [--steps=5000] [--jobs=2]
        [--kept=docs/estimators/results.json]
    python -m benchmarks.estimators --report     what is there so far, without training more

All runs share the recipe of configs/multi_mnist_nvil.py: the presence head rests at first, as those
need that draw the count. What is finished is kept in the folder, and what was interrupted goes on;
each run has a core to itself. What --kept holds counts as finished too; --kept= starts afresh. The
report goes to the terminal, and to --kept with `accuracy.png` beside it.
"""

import itertools
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys

import numpy as np
from absl import app, flags, logging
from matplotlib.figure import Figure

from air_jax import command_line
from air_jax.errors import UserError
from air_jax.estimators import ESTIMATORS

_FOLDER = flags.DEFINE_string('folder', 'runs/estimators', 'Where runs are kept.')
_MNIST_DIR = flags.DEFINE_string('mnist_dir', '', 'Folder of the four IDX files of MNIST.')
_LAYOUTS = flags.DEFINE_list('layouts', ['disjoint', 'touching'], 'Rules of composition.')
_OBJECTIVES = flags.DEFINE_list('objectives', list(ESTIMATORS), 'Names of objectives.')
_SEEDS = flags.DEFINE_integer('seeds', 3, 'Seeds of each.', lower_bound=1)
_STEPS = flags.DEFINE_integer('steps', 5000, 'Steps of each.', lower_bound=1)
_JOBS = flags.DEFINE_integer('jobs', 2, 'Runs at a time.', lower_bound=1)
_KEPT = flags.DEFINE_string(
  'kept', 'docs/estimators/results.json', 'File that collects results; none collects none.'
)
_REPORT = flags.DEFINE_bool('report', False, 'Report alone.')
_ONE = flags.DEFINE_string('one', '', 'LAYOUT/OBJECTIVE/SEED: does this run alone, here.')
_TEST_SCENES = 4000
_BOUNDS = ((100, 500), (1000, 100))  # samples, images
_LEVELS = (0.95, 0.98, 0.99)
_SUCCESS = 0.95


@command_line.one_line_errors
def main(argv):
  """Trains what is missing, then reports."""
  del argv
  logging.set_verbosity(logging.WARNING)  # orbax tells every rename
  if _ONE.value:
    _run(*_ONE.value.split('/'))
    return
  if unknown := set(_OBJECTIVES.value) - set(ESTIMATORS):
    raise UserError(f'--objectives={min(unknown)} is none of {", ".join(ESTIMATORS)}')
  if not _REPORT.value:
    _train_all()
  results = _results()
  if not results:
    raise UserError(f'--folder={_FOLDER.value} holds no finished run')
  if _KEPT.value:
    kept = pathlib.Path(_KEPT.value)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text('[\n' + ',\n'.join(map(json.dumps, results)) + '\n]\n')
    _curves(results).savefig(kept.parent / 'accuracy.png', dpi=110)
  print(_table(results))


def _train_all():
  """Keeps so many children at work, each pinned to a core; seeds are the outermost loop."""
  finished = {_name(run) for run in _results() if run['steps'] == _STEPS.value}
  wanted = itertools.product(range(_SEEDS.value), _LAYOUTS.value, _OBJECTIVES.value)
  wanted = [f'{layout}/{objective}/{seed}' for seed, layout, objective in wanted]
  waiting = [name for name in wanted if name not in finished]
  cores = sorted(os.sched_getaffinity(0))
  working = {}
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
  try:
    while waiting or working:
      while waiting and len(working) < _JOBS.value:
        slot = min(set(range(_JOBS.value)) - working.keys())
        name = waiting.pop(0)
        print(f'{len(waiting):>3} waiting, starting {name}', flush=True)
        working[slot] = name, _start(name, cores[slot % len(cores)])
      pid, status = os.wait()
      (slot,) = (slot for slot, (_, child) in working.items() if child.pid == pid)
      name, child = working.pop(slot)
      child.returncode = os.waitstatus_to_exitcode(status)
      if child.returncode:
        print(f'{name} failed with code {child.returncode}; see its log', flush=True)
  finally:
    for _, child in working.values():
      child.terminate()


def _start(name, core):
  log = pathlib.Path(_FOLDER.value) / name / 'log.txt'
  log.parent.mkdir(parents=True, exist_ok=True)
  flags_kept = [f'--{f}={flags.FLAGS[f].value}' for f in ('folder', 'mnist_dir', 'steps')]
  with log.open('a') as file:
    return subprocess.Popen(
      [sys.executable, '-m', 'benchmarks.estimators', f'--one={name}', *flags_kept],
      stdout=file, stderr=file, preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip


def _run(layout, objective, seed):
  """One run: trains it, evaluates it, keeps its result."""
  from air_jax import evaluate, runs, train
  from air_jax.data import loading
  from configs import multi_mnist_nvil

  config = multi_mnist_nvil.get_config()
  config.seed = int(seed)
  config.data.update(layout=layout, mnist_dir=_MNIST_DIR.value, test_scenes=_TEST_SCENES)
  config.objective.name = objective
  config.train.update(steps=_STEPS.value, eval_every=500, checkpoint_every=1000)
  folder = pathlib.Path(_FOLDER.value) / layout / objective / seed
  result = {'layout': layout, 'objective': objective, 'seed': int(seed), 'steps': _STEPS.value}
  summary = train.train(config, folder / 'run')
  result |= {name: summary[name] for name in ('count_accuracy', 'elbo', 'box_iou')}
  learning, state, _ = runs.restore(folder / 'run')
  scenes = loading.load(learning.config.data, 'test')
  for samples, images in _BOUNDS:
    _, tight = evaluate.held_out(learning, state, _first(scenes, images), samples)
    result[f'bound_{samples}'] = tight['tight_bound']
  lines = [json.loads(line) for line in (folder / 'run' / 'metrics.jsonl').open()]
  result['curve'] = [[x['step'], x['count_accuracy']] for x in lines if x['split'] == 'test']
  times = [(x['step'], x['wall_s']) for x in lines if x['split'] == 'train']
  rates = [(t - s) / (b - a) for (a, s), (b, t) in itertools.pairwise(times) if b > a and t > s]
  result['seconds_a_step'] = statistics.median(rates)  # evaluations are in few of them
  draft = folder / 'result.tmp'
  draft.write_text(json.dumps(result) + '\n')
  os.replace(draft, folder / 'result.json')


def _first(scenes, number):
  return type(scenes)(*(field[:number] for field in scenes))


def _results():
  """All that is finished, in order; a run of the folder takes the place of a kept one."""
  kept = pathlib.Path(_KEPT.value)
  results = json.loads(kept.read_text()) if kept.is_file() else []
  for path in sorted(pathlib.Path(_FOLDER.value).glob('*/*/*/result.json')):
    results.append(json.loads(path.read_text()))
  results = {(_name(run), run['steps']): run for run in results}.values()
  order = list(ESTIMATORS)
  return sorted(
    results, key=lambda r: (r['layout'], r['steps'], order.index(r['objective']), r['seed'])
  )


def _name(run):
  return f'{run["layout"]}/{run["objective"]}/{run["seed"]}'


def _table(results):
  """Markdown, a table for each layout and number of steps."""
  lines = []
  for (layout, steps), group in _grouped(results, 'layout', 'steps'):
    own = {objective: list(runs) for (objective,), runs in _grouped(group, 'objective')}
    exact = own.get('exact', [])
    budget = statistics.median(map(_seconds, exact)) if exact else float('nan')
    lines += [
      f'{layout}, {steps:,} steps (`exact` trains {budget:.0f} s):',
      '',
      '| | seeds | >= 95 % | count accuracy, % | in the time of `exact` | ELBO '
      '| bound of 100 | of 1,000 | steps to 95 / 98 / 99 % | ms a step |',
      '|' + 10 * '---|',
    ]
    for objective, runs in own.items():
      accuracy = [run['count_accuracy'] for run in runs]
      in_time = statistics.median(_accuracy_after(run, budget) for run in runs)
      elbo, hundred, thousand, seconds = (
        statistics.median(run[name] for run in runs)
        for name in ('elbo', 'bound_100', 'bound_1000', 'seconds_a_step')
      )
      cells = [
        f'`{objective}`',
        len(runs),
        sum(a >= _SUCCESS for a in accuracy),
        ', '.join(f'{100 * a:.2f}' for a in accuracy),
        f'{100 * in_time:.2f}',
        *(f'{nats:.1f}' for nats in (elbo, hundred, thousand)),
        ' / '.join(_median_steps(runs, level) for level in _LEVELS),
        f'{1e3 * seconds:.0f}',
      ]
      lines.append(f'| {" | ".join(map(str, cells))} |')
    lines.append('')
  return '\n'.join(lines)


def _grouped(results, *names):
  return itertools.groupby(results, key=lambda run: tuple(run[name] for name in names))


def _seconds(run):
  return run['steps'] * run['seconds_a_step']


def _accuracy_after(run, seconds):
  """Between evaluations, along a line; beyond the last, the last."""
  steps, accuracy = zip(*run['curve'], strict=True)
  return float(np.interp(seconds / run['seconds_a_step'], [0, *steps], [1 / 3, *accuracy]))


def _median_steps(runs, level):
  """The steps after which half of the seeds were there; '-' where fewer got there."""
  never = float('inf')
  first = [next((step for step, a in run['curve'] if a >= level), never) for run in runs]
  median = statistics.median_high(first)
  return '-' if median == never else f'{median:,}'


def _curves(results):
  layouts = list(dict.fromkeys(run['layout'] for run in results))
  figure = Figure(figsize=(10.0, 3.8 * len(layouts)), layout='constrained')
  axes = figure.subplots(len(layouts), 2, squeeze=False, sharey=True)
  names = [name for name in ESTIMATORS if any(run['objective'] == name for run in results)]
  styles = itertools.cycle(itertools.product(('-', '--'), [f'C{i}' for i in range(10)]))
  for name, (dashes, colour) in zip(names, styles, strict=False):
    for run in (run for run in results if run['objective'] == name):
      steps, accuracy = map(np.array, zip(*run['curve'], strict=True))
      for axis, x in zip(
        axes[layouts.index(run['layout'])], (steps, steps * run['seconds_a_step']), strict=True
      ):
        label = name if run['seed'] == 0 else None
        axis.plot(x, 1 - accuracy, dashes, color=colour, label=label, linewidth=1.1)
  for layout, row in zip(layouts, axes, strict=True):
    for axis, label in zip(row, ('step', 'seconds of training'), strict=True):
      axis.set(title=f'{layout}: share of held-out scenes miscounted', xlabel=label, yscale='log')
      axis.grid(alpha=0.3, which='both')
    row[1].set_xscale('log')
  figure.legend(*axes[0, 0].get_legend_handles_labels(), loc='outside right center', fontsize=8)
  return figure


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
