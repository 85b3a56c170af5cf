"""How far initial values, optimiser and recipe can be changed, one at a time, until training fails.

    python -m benchmarks.robustness [--scenes=multi_digits] [--mnist_dir=FOLDER]
        [--factors=output_bias,learning_rate,...] [--seeds=3] [--steps=1500]
        [--jobs=2] [--folder=runs/robustness] [--kept=docs/robustness/results.json]
    python -m benchmarks.robustness --factors=recipe     each run without one part of the recipe
    python -m benchmarks.robustness --report             only reports the results so far

Each point is the configuration that --scenes names with one change. Each run has cores of its own.
Finished runs are kept in the folder, and interrupted ones continue. Results in --kept count as
finished too; --kept= ignores them. The report is printed; the results are written to --kept, with
`map.png`, a map of success, in the same folder.
"""

import importlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from absl import flags
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from air_jax.cli import command_line
from air_jax.errors import UserError
from air_jax.viz import palette
from benchmarks import jobs
from benchmarks.jobs import Result


def _inverse_softplus(std: float) -> float:
  return math.log(math.expm1(std))


_WHERE_STD = math.log1p(math.exp(-1.0))  # the initial deviation of z_where in configs/default.py
# The changes of each factor, by the name of its value.
SWEEP: dict[str, dict[str, dict[str, Any]]] = {
  'output_bias': {str(b): {'model.output_bias': float(b)} for b in range(-4, 3)},
  'where_spread': {
    f'x{m}': {'model.where_std_bias': _inverse_softplus(m * _WHERE_STD)}
    for m in (0.1, 0.3, 1, 3, 10)
  },
  'presence_bias': {
    str(b): {'model.presence_bias': float(b)} for b in (-3, -2, -1, 0, 1, 2, 3)
  },
  'learning_rate': {
    f'{r:g}': {'train.learning_rate': r} for r in (3e-4, 5e-4, 7e-4, 1e-3, 2e-3, 3e-3)
  },
  'batch_size': {str(n): {'train.batch_size': n} for n in (32, 64, 128, 256, 512)},
  'likelihood_std': {str(s): {'model.likelihood_std': s} for s in (0.1, 0.2, 0.3, 0.4, 0.5)},
}  # fmt: skip
RECIPE: dict[str, dict[str, Any]] = {
  'as it is': {},
  'no smoothing': {'objective.smoothing': 0.0, 'objective.smoothing_steps': 0},
  'no KL warm-up': {'objective.kl_warmup': 1.0, 'objective.kl_warmup_steps': 0},
  'no prior annealing': {'objective.prior_steps': 0},
  'size prior fixed': {'model.learn_size_prior': False},
  'size prior of 0.12': {'model.size_prior_std': 0.12},
  'size prior from 0.25': {'model.size_prior_mean': 0.25},
  'size prior from 0.6': {'model.size_prior_mean': 0.6},
  'deviation 0.3': {'model.likelihood_std': 0.3},
  'exact': {'objective.name': 'exact'},
  'patches alone': {'model.patch_rounds': 0},
  'raw pixels': {'model.patch_size': 0},
  'no averaging': {'train.average': 0.0},
  'gradient clipped at 1': {'train.clip_norm': 1.0},
}
FACTORS = SWEEP | {'recipe': RECIPE}

_SCENES = flags.DEFINE_string('scenes', 'multi_digits', 'Name of the configuration to change.')
_FACTORS = flags.DEFINE_list('factors', list(SWEEP), f'Some of {", ".join(FACTORS)}.')
_BENCHMARK = jobs.Benchmark('robustness', ('scenes', 'steps', 'factor', 'value', 'seed'))
_KINDS = {True: 'every seed succeeds', False: 'a seed fails'}
_TEST_SCENES = 4000


def _report() -> str:
  """Trains what is missing, then reports."""
  if unknown := set(_FACTORS.value) - set(FACTORS):
    raise UserError(
      f'--factors={min(unknown)} is not allowed; it must be some of {", ".join(FACTORS)}'
    )
  results = _BENCHMARK.run_all(_wanted())
  sweep = [run for run in results if run['factor'] in SWEEP]
  _BENCHMARK.keep_figure('map.png', draw(sweep))
  return table(results)


def table(results: Sequence[Result]) -> str:
  """Markdown tables, one for each configuration and number of steps.

  They show the values of each factor with the count accuracy of each seed.
  """
  lines: list[str] = []
  for (scenes, steps), group in _grouped(results, 'scenes', 'steps'):
    sweep = [worst >= runs[0]['success'] for _, runs, worst in _points(group)]
    lines += [
      f'`{scenes}.py`, {steps:,} steps: {sum(sweep)} of {len(sweep)} points succeed',
      '',
      '| | | count accuracy, % | ELBO, nats |',
      '|---|---|---|---|',
    ]
    for (factor, value), runs, worst in _points(group):
      accuracies = ', '.join(f'{100 * run["count_accuracy"]:.2f}' for run in runs)
      if worst < runs[0]['success']:
        accuracies = f'**{accuracies}**'
      elbo = sum(run['elbo'] for run in runs) / len(runs)
      lines.append(f'| {factor.replace("_", " ")} | {value} | {accuracies} | {elbo:.1f} |')
    lines.append('')
  return '\n'.join(lines)


def draw(results: Sequence[Result]) -> Figure:
  """A map of success: a row for each factor, a field for each value, the worst seed's accuracy."""
  groups = list(_grouped(results, 'scenes', 'steps'))
  figure = Figure(figsize=(7.6, 0.6 + 3.2 * max(len(groups), 1)), layout='constrained')
  for axis, ((scenes, steps), group) in zip(
    figure.subplots(max(len(groups), 1), 1, squeeze=False)[:, 0], groups, strict=False
  ):
    rows = [factor for factor in FACTORS if any(run['factor'] == factor for run in group)]
    for (factor, value), runs, worst in _points(group):
      column, row = list(FACTORS[factor]).index(value), rows.index(factor)
      good = worst >= runs[0]['success']
      colour, hatch = (palette.BLUE, '') if good else (palette.ORANGE, '//')
      axis.barh(row, 0.94, 0.86, column, color=colour, alpha=0.4, hatch=hatch, label=_KINDS[good])
      axis.text(column + 0.47, row - 0.13, value, ha='center', va='center', fontsize=9)
      shown = f'{100 * worst:.2f} %'
      axis.text(column + 0.47, row + 0.2, shown, ha='center', va='center', fontsize=8)
    names = [factor.replace('_', ' ') for factor in rows]
    axis.set(yticks=range(len(rows)), yticklabels=names, xticks=[])
    axis.invert_yaxis()
    axis.spines[:].set_visible(False)
    axis.set_title(f'{scenes}.py, {steps:,} steps: count accuracy, held out', fontsize=10)
  drawn = [axis.get_legend_handles_labels() for axis in figure.axes]
  by_label = {label: each for found in drawn for each, label in zip(*found, strict=True)}
  if by_label:
    figure.legend(by_label.values(), by_label, loc='outside lower center', ncols=2, fontsize=9)
  return figure


def _wanted() -> Iterator[str]:
  """The names of all runs; seeds are the outermost loop."""
  steps = jobs.STEPS.value or _config().train.steps
  for seed, factor in itertools.product(jobs.seeds(), _FACTORS.value):
    for value in FACTORS[factor]:
      yield f'{_SCENES.value}/{steps}/{factor}/{value}/{seed}'


def _config() -> ConfigDict:
  name, known = _SCENES.value, command_line.configurations()
  if name not in known:
    raise UserError(f'--scenes={name} is not allowed; it must be one of {", ".join(known)}')
  return importlib.import_module(f'air_jax.configs.{name}').get_config()


def _run(name: str) -> None:
  """Trains one run and keeps its result."""
  import air_jax
  from air_jax.errors import DivergenceError

  scenes, steps, factor, value, seed = name.split('/')
  config = _config()
  config.seed, config.train.steps = int(seed), int(steps)
  config.data.update(mnist_dir=jobs.MNIST_DIR.value, test_scenes=_TEST_SCENES)
  config.train.update(eval_every=int(steps), checkpoint_every=1000)
  config.update_from_flattened_dict(FACTORS[factor][value])
  folder = _BENCHMARK.folder(name)
  try:
    summary = air_jax.train(config, folder / 'run', figures=False)
  except DivergenceError:
    summary = {'count_accuracy': 0.0, 'elbo': float('-inf')}
  jobs.finish(
    folder,
    {
      'scenes': scenes,
      'steps': int(steps),
      'factor': factor,
      'value': value,
      'seed': int(seed),
      'success': config.train.success,
      'count_accuracy': summary['count_accuracy'],
      'elbo': summary['elbo'],
    },
  )


def _points(results: Sequence[Result]) -> Iterator[tuple[tuple[str, str], list[Result], float]]:
  """Yields ((factor, value), its runs, their lowest accuracy), in the order of `FACTORS`."""
  for factor, values in FACTORS.items():
    for value in values:
      runs = [run for run in results if (run['factor'], run['value']) == (factor, value)]
      if runs:
        yield (factor, value), runs, min(run['count_accuracy'] for run in runs)


def _grouped(results: Iterable[Result], *names: str) -> Iterator[tuple[tuple, list[Result]]]:
  order = sorted(results, key=lambda run: [run[name] for name in names])
  for key, runs in itertools.groupby(order, key=lambda run: tuple(run[name] for name in names)):
    yield key, list(runs)


main = jobs.program(_run, _report)

if __name__ == '__main__':
  jobs.start(main)
