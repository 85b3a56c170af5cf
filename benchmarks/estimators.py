"""Every objective on the same model, data and budget: which counts best, how soon, how surely.

    python -m benchmarks.estimators --mnist_dir=FOLDER
        [--folder=runs/estimators] [--layouts=disjoint,touching] [--objectives=exact,nvil,...]
        [--seeds=3] [--population=1] [--steps=5000] [--jobs=2]
        [--kept=docs/estimators/results.json] [--costs=docs/estimators/costs.json]
    python -m benchmarks.estimators --report     what is there so far, without training more

All runs share the recipe of configs/multi_mnist_nvil.py: the presence head rests at first, as those
need that draw the count. What is finished is kept in the folder, and what was interrupted goes on;
each run has its own share of the cores. What --kept holds counts as finished too; --kept= starts
afresh. Runs of different machines have no seconds in common: seconds here are steps times what a
step takes by --costs, where `python -m benchmarks.costs` has timed all objectives side by side. The
report goes to the terminal, and to --kept with `accuracy.png` beside it.

On a GPU, --population=N has so many seeds learn in one program; for several such programs on one
GPU, XLA_PYTHON_CLIENT_PREALLOCATE=false.
"""

import itertools
import json
import pathlib
import statistics

import numpy as np
from absl import app, flags, logging
from matplotlib.figure import Figure

from air_jax.cli import command_line
from air_jax.errors import UserError
from air_jax.objectives.registry import ESTIMATORS
from benchmarks import jobs

_LAYOUTS = flags.DEFINE_list('layouts', ['disjoint', 'touching'], 'Rules of composition.')
_OBJECTIVES = flags.DEFINE_list('objectives', list(ESTIMATORS), 'Names of objectives.')
_POPULATION = flags.DEFINE_integer('population', 1, 'Seeds to train at once.', lower_bound=1)
_COSTS = flags.DEFINE_string(
  'costs', 'docs/estimators/costs.json', 'Seconds a step by objective; see benchmarks/costs.py.'
)
_BENCHMARK = 'estimators'
_STEPS = 5000
_TEST_SCENES = 4000
_BOUNDS = ((100, 500), (1000, 100))  # samples, images
_LEVELS = (0.95, 0.98, 0.99)
_SUCCESS = 0.95


@command_line.one_line_errors
def main(argv):
  """Trains what is missing, then reports."""
  del argv
  logging.set_verbosity(logging.WARNING)  # orbax tells every rename
  if jobs.ONE.value:
    _run(jobs.ONE.value)
    return
  if unknown := set(_OBJECTIVES.value) - set(ESTIMATORS):
    raise UserError(f'--objectives={min(unknown)} is none of {", ".join(ESTIMATORS)}')
  costs = _costs()
  results = _ordered(jobs.run_all(_BENCHMARK, _wanted(), _name))
  jobs.keep_figure(_BENCHMARK, 'accuracy.png', _curves(results, costs))
  print(_table(results, costs))


def _costs():
  """Seconds a step by objective."""
  path = pathlib.Path(_COSTS.value)
  if not path.is_file():
    raise UserError(f'--costs={path} is missing; python -m benchmarks.costs --kept={path} makes it')
  return json.loads(path.read_text())


def _wanted():
  """Runs asked for and their results, both by name; seeds are the outermost loop."""
  first = range(0, jobs.SEEDS.value, _POPULATION.value)
  steps, wanted = jobs.STEPS.value or _STEPS, {}
  for seed, layout, objective in itertools.product(first, _LAYOUTS.value, _OBJECTIVES.value):
    own = [f'{layout}/{objective}/{each}/{steps}' for each in _seeds(seed)]
    wanted[own[0]] = own
  return wanted


def _seeds(first):
  """Those that learn together, of which the first is given."""
  return range(first, min(first + _POPULATION.value, jobs.SEEDS.value))


def _run(name):
  """One run: trains it, evaluates its seeds, keeps their results."""
  from air_jax import api
  from configs import multi_mnist_nvil

  layout, objective, seed, steps = name.split('/')
  config = multi_mnist_nvil.get_config()
  config.seed = int(seed)
  config.data.update(layout=layout, mnist_dir=jobs.MNIST_DIR.value, test_scenes=_TEST_SCENES)
  config.objective.name = objective
  config.train.update(steps=int(steps), eval_every=500, checkpoint_every=1000, draw_every=0)
  config.train.population = len(_seeds(config.seed))
  workdir = jobs.folder(_BENCHMARK) / name / 'run'
  api.train(config, workdir, figures=False)
  for found in _evaluated(workdir):
    result = {'layout': layout, 'objective': objective, 'steps': int(steps)} | found
    jobs.finish(jobs.folder(_BENCHMARK) / _name(result), result)


def _evaluated(workdir):
  """Results of the seeds of a run that have not diverged."""
  from air_jax.data import loading
  from air_jax.evaluation import held_out
  from air_jax.inference import restore
  from air_jax.storage import metric_writers, run_dir

  run = restore.restore(workdir)
  scenes = loading.load(run.config.data, 'test')
  for i in range(run.config.train.population):
    if i in run.diverged:
      continue
    model, folder = run.model(i), run.member_dir(i)
    summary = run_dir.read_evaluation(folder)
    result = {name: summary[name] for name in ('count_accuracy', 'elbo', 'box_iou')}
    for samples, images in _BOUNDS:
      _, tight = held_out.evaluate(
        model.model, model.params, _first(scenes, images), model.config.seed, model.step, samples
      )
      result[f'bound_{samples}'] = tight['tight_bound']
    lines = [line for line in metric_writers.read_metrics(folder) if line['split'] == 'test']
    result['curve'] = [[line['step'], line['count_accuracy']] for line in lines]
    yield {'seed': model.config.seed} | result


def _first(scenes, number):
  return type(scenes)(*(field[:number] for field in scenes))


def _ordered(results):
  order = list(ESTIMATORS)
  return sorted(
    results, key=lambda r: (r['layout'], r['steps'], order.index(r['objective']), r['seed'])
  )


def _name(run):
  return '/'.join(str(run[key]) for key in ('layout', 'objective', 'seed', 'steps'))


def _table(results, costs):
  """Markdown, a table for each layout and number of steps."""
  lines = []
  for (layout, steps), group in _grouped(results, 'layout', 'steps'):
    own = {objective: list(runs) for (objective,), runs in _grouped(group, 'objective')}
    budget = steps * costs['exact']
    lines += [
      f'{layout}, {steps:,} steps (`exact` trains {budget:.0f} s):',
      '',
      '| | seeds | >= 95 % | count accuracy, % | in the time of `exact` | ELBO '
      '| bound of 100 | of 1,000 | steps to 95 / 98 / 99 % | ms a step |',
      '|' + 10 * '---|',
    ]
    for objective, runs in own.items():
      accuracy = [run['count_accuracy'] for run in runs]
      in_time = statistics.median(_accuracy_after(run, budget / costs[objective]) for run in runs)
      elbo, hundred, thousand = (
        statistics.median(run[name] for run in runs) for name in ('elbo', 'bound_100', 'bound_1000')
      )
      cells = [
        f'`{objective}`',
        len(runs),
        sum(a >= _SUCCESS for a in accuracy),
        ', '.join(f'{100 * a:.2f}' for a in accuracy),
        f'{100 * in_time:.2f}',
        *(f'{nats:.1f}' for nats in (elbo, hundred, thousand)),
        ' / '.join(_median_steps(runs, level) for level in _LEVELS),
        f'{1e3 * costs[objective]:.0f}',
      ]
      lines.append(f'| {" | ".join(map(str, cells))} |')
    lines.append('')
  return '\n'.join(lines)


def _grouped(results, *names):
  return itertools.groupby(results, key=lambda run: tuple(run[name] for name in names))


def _accuracy_after(run, step):
  """Between evaluations, along a line; beyond the last, the last."""
  steps, accuracy = zip(*run['curve'], strict=True)
  return float(np.interp(step, [0, *steps], [1 / 3, *accuracy]))


def _median_steps(runs, level):
  """The steps after which half of the seeds were there; '-' where fewer got there."""
  never = float('inf')
  first = [next((step for step, a in run['curve'] if a >= level), never) for run in runs]
  median = statistics.median_high(first)
  return '-' if median == never else f'{median:,}'


def _curves(results, costs):
  layouts = list(dict.fromkeys(run['layout'] for run in results))
  figure = Figure(figsize=(10.0, 3.8 * len(layouts)), layout='constrained')
  axes = figure.subplots(len(layouts), 2, squeeze=False, sharey=True)
  names = [name for name in ESTIMATORS if any(run['objective'] == name for run in results)]
  styles = itertools.cycle(itertools.product(('-', '--'), [f'C{i}' for i in range(10)]))
  for name, (dashes, colour) in zip(names, styles, strict=False):
    for run in (run for run in results if run['objective'] == name):
      steps, accuracy = map(np.array, zip(*run['curve'], strict=True))
      for axis, x in zip(
        axes[layouts.index(run['layout'])], (steps, steps * costs[name]), strict=True
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
