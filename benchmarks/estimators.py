"""All objectives on the same model, data and budget: count accuracy, bounds, speed, failed seeds.

    python -m benchmarks.estimators --mnist_dir=FOLDER
        [--folder=runs/estimators] [--layouts=disjoint,touching]
        [--objectives=exact,nvil,my_module:my_loss] [--seeds=3] [--population=1] [--steps=5000]
        [--jobs=2] [--kept=docs/estimators/results.json] [--costs=docs/estimators/costs.json]
    python -m benchmarks.estimators --report     only reports the results so far

All runs use configs/multi_mnist_nvil.py, where the presence head gets no gradient at first, because
objectives that sample the count need that. Each run has cores of its own. Finished runs are kept in
the folder, and interrupted ones continue. Results in --kept count as finished too; --kept= ignores
them. Times of different machines do not compare. So a time here is a number of steps, multiplied by
the time of a step in --costs, where `python -m benchmarks.costs` timed all objectives side by side.
The report is printed; the results are written to --kept, with `accuracy.png` in the same folder.

On a GPU, --population=N trains N seeds in one program. Several such programs on one GPU need
XLA_PYTHON_CLIENT_PREALLOCATE=false.
"""

import itertools
import json
import pathlib
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from absl import flags
from matplotlib.figure import Figure

from air_jax.errors import UserError
from air_jax.objectives import registry
from air_jax.objectives.registry import ESTIMATORS
from air_jax.types import LabelledScenes
from air_jax.viz import palette, share_axis
from benchmarks import jobs
from benchmarks.jobs import Result

_LAYOUTS = flags.DEFINE_list('layouts', ['disjoint', 'touching'], 'Layouts of the digits.')
_OBJECTIVES = flags.DEFINE_list(
  'objectives', list(ESTIMATORS), 'Names of objectives, or module:attribute.'
)
_POPULATION = flags.DEFINE_integer('population', 1, 'Seeds trained in one program.', lower_bound=1)
_COSTS = flags.DEFINE_string(
  'costs', 'docs/estimators/costs.json', 'Seconds per step by objective, from benchmarks/costs.py.'
)
_BENCHMARK = jobs.Benchmark('estimators', ('layout', 'objective', 'seed', 'steps'))
_STEPS = 5000
_TEST_SCENES = 4000
_BOUNDS = ((100, 500), (1000, 100))  # samples, images
_LEVELS = (0.95, 0.98, 0.99)
_SUCCESS = 0.95
_CHANCE = 2 / 3  # share that is miscounted by one answer to all: counts are 0, 1 or 2
_PANELS = 4  # in a row of the figure


def _report() -> str:
  """Trains what is missing, then reports."""
  wanted = [] if jobs.REPORT.value else _OBJECTIVES.value
  for name in wanted:
    registry.resolve(name)  # a wrong name is refused before anything is trained
  found = [run['objective'] for run in _BENCHMARK.results()]
  costs = _costs({'exact', *wanted, *found})
  results = _ordered(_BENCHMARK.run_all(_wanted()))
  _BENCHMARK.keep_figure('accuracy.png', _curves(results, costs))
  return _table(results, costs)


def _costs(objectives: Iterable[str]) -> dict[str, float]:
  """Seconds per step by objective; all of these must be there."""
  path, needed = pathlib.Path(_COSTS.value), _in_order(objectives)
  costs = json.loads(path.read_text()) if path.is_file() else {}
  if missing := [name for name in needed if name not in costs]:
    raise UserError(
      f'--costs={path} has no time of {", ".join(missing)}; python -m benchmarks.costs '
      f'--objectives={",".join(needed)} --kept=FILE measures the times that --costs=FILE reads'
    )
  return costs


def _in_order(objectives: Iterable[str]) -> list[str]:
  """Names of objectives, each once: those of the package, then those by import path."""
  names = set(objectives)
  return [*(name for name in ESTIMATORS if name in names), *sorted(names - set(ESTIMATORS))]


def _wanted() -> dict[str, list[str]]:
  """The names of the results of each run, by the run's name; seeds are the outermost loop."""
  first = range(0, jobs.SEEDS.value, _POPULATION.value)
  steps, wanted = jobs.STEPS.value or _STEPS, {}
  for seed, layout, objective in itertools.product(first, _LAYOUTS.value, _OBJECTIVES.value):
    own = [f'{layout}/{objective}/{each}/{steps}' for each in _seeds(seed)]
    wanted[own[0]] = own
  return wanted


def _seeds(first: int) -> range:
  """The seeds that are trained together, from the first one."""
  return range(first, min(first + _POPULATION.value, jobs.SEEDS.value))


def _run(name: str) -> None:
  """Trains one run, evaluates its seeds and keeps their results."""
  import air_jax
  from air_jax.configs import multi_mnist_nvil

  layout, objective, seed, steps = name.split('/')
  config = multi_mnist_nvil.get_config()
  config.seed = int(seed)
  config.data.update(layout=layout, mnist_dir=jobs.MNIST_DIR.value, test_scenes=_TEST_SCENES)
  config.objective.name = objective
  config.train.update(steps=int(steps), eval_every=500, checkpoint_every=1000, draw_every=0)
  config.train.population = len(_seeds(config.seed))
  workdir = _BENCHMARK.folder(f'{name}/run')
  air_jax.train(config, workdir, figures=False)
  for found in _evaluated(workdir):
    result = {'layout': layout, 'objective': objective, 'steps': int(steps)} | found
    jobs.finish(_BENCHMARK.folder(_BENCHMARK.name_of(result)), result)


def _evaluated(workdir: pathlib.Path) -> Iterator[Result]:
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
    summary: Any = run_dir.read_evaluation(folder)
    result = {name: summary[name] for name in ('count_accuracy', 'elbo', 'box_iou')}
    for samples, images in _BOUNDS:
      _, tight = held_out.evaluate(
        model.model, model.params, _first(scenes, images), model.config.seed, model.step, samples
      )
      result[f'bound_{samples}'] = tight['tight_bound']
    lines = [line for line in metric_writers.read_metrics(folder) if line['split'] == 'test']
    result['curve'] = [[line['step'], line['count_accuracy']] for line in lines]
    yield {'seed': model.config.seed} | result


def _first(scenes: LabelledScenes, number: int) -> LabelledScenes:
  return LabelledScenes(*(field[:number] for field in scenes))


def _ordered(results: Sequence[Result]) -> list[Result]:
  order = _in_order(run['objective'] for run in results)
  return sorted(
    results, key=lambda r: (r['layout'], r['steps'], order.index(r['objective']), r['seed'])
  )


def _table(results: Sequence[Result], costs: dict[str, float]) -> str:
  """Markdown tables, one for each layout and number of steps."""
  lines: list[str] = []
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


def _grouped(results: Iterable[Result], *names: str) -> Iterator[tuple[tuple, Iterator[Result]]]:
  return itertools.groupby(results, key=lambda run: tuple(run[name] for name in names))


def _accuracy_after(run: Result, step: float) -> float:
  """The accuracy at a step, interpolated between evaluations; after the last one, the last."""
  steps, accuracy = zip(*run['curve'], strict=True)
  return float(np.interp(step, [0, *steps], [1 / 3, *accuracy]))


def _median_steps(runs: Sequence[Result], level: float) -> str:
  """The steps after which half of the seeds had an accuracy; '-' where fewer reached it."""
  never = float('inf')
  first = [next((step for step, a in run['curve'] if a >= level), never) for run in runs]
  median = statistics.median_high(first)
  return '-' if median == never else f'{median:,}'


def _curves(results: Sequence[Result], costs: dict[str, float]) -> Figure:
  """The share of miscounted scenes over training steps, a panel for each objective.

  A colour and a line pattern for each layout, a line for each seed; `exact` is grey in all panels.
  """
  names = _in_order(run['objective'] for run in results)
  layouts = list(dict.fromkeys(run['layout'] for run in results))
  rows = -(-len(names) // _PANELS)
  figure = Figure(figsize=(10.0, 0.6 + 2.1 * rows), layout='constrained')
  axes = figure.subplots(rows, _PANELS, sharex=True, sharey=True, squeeze=False).ravel()
  shares: list[float] = []
  for name, axis in zip(names, axes, strict=False):
    for run in sorted(results, key=lambda run: run['objective'] != 'exact'):
      own, i = run['objective'] == name, layouts.index(run['layout'])
      if not own and run['objective'] != 'exact':
        continue
      steps, accuracy = map(np.array, zip(*run['curve'], strict=True))
      shares += list(share_axis.drawable(1 - accuracy))
      axis.plot(
        steps, share_axis.drawable(1 - accuracy), linestyle=palette.line_style(i),
        color=palette.line_colour(i) if own else '0.7', linewidth=1.3 if own else 0.9,
        label=run['layout'] if own else 'exact, for comparison', zorder=3 if own else 2,
      )  # fmt: skip
    axis.set_title(f'{name}, {1e3 * costs[name]:.0f} ms a step', fontsize=9)
    axis.tick_params(labelsize=9)
    axis.grid(alpha=0.3)
  for axis in axes[: len(names)]:
    share_axis.apply(axis, shares, _CHANCE)
  for axis in axes[len(names) :]:
    axis.remove()
  for axis in axes[max(len(names) - _PANELS, 0) : len(names)]:  # the last in their columns
    axis.tick_params(labelbottom=True)
  figure.supxlabel('training step', fontsize=9)
  figure.supylabel('held-out scenes miscounted', fontsize=9)
  drawn = [axis.get_legend_handles_labels() for axis in axes[: len(names)]]
  by_label = {label: each for found in drawn for each, label in zip(*found, strict=True)}
  figure.legend(by_label.values(), by_label, loc='outside upper center', ncols=4, fontsize=9)
  return figure


main = jobs.program(_run, _report)

if __name__ == '__main__':
  jobs.start(main)
