"""How far initialisation, optimiser and recipe can be moved, one at a time, before training fails.

    python -m benchmarks.robustness [--scenes=multi_digits] [--mnist_dir=FOLDER]
        [--factors=output_bias,learning_rate,...] [--seeds=3] [--steps=1500]
        [--jobs=2] [--folder=runs/robustness] [--kept=docs/robustness/results.json]
    python -m benchmarks.robustness --factors=recipe     without one ingredient of the recipe each
    python -m benchmarks.robustness --report             what is there so far

Each point is the configuration that --scenes names with one change. What is finished is kept in the
folder, and what was interrupted goes on; each run has a core to itself. What --kept holds counts as
finished too; --kept= starts afresh. The report goes to the terminal, and to --kept with a map of
success beside it.
"""

import importlib
import itertools
import math

from absl import app, flags, logging
from matplotlib.figure import Figure

from air_jax.cli import command_line
from air_jax.errors import UserError
from benchmarks import jobs


def _inverse_softplus(std):
  return math.log(math.expm1(std))


_WHERE_STD = math.log1p(math.exp(-1.0))  # the initial deviation of z_where by the default recipe
# What is changed, and how it is shown, by factor.
SWEEP = {
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
RECIPE = {
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

_SCENES = flags.DEFINE_string('scenes', 'multi_digits', 'Which of configs/ to change.')
_FACTORS = flags.DEFINE_list('factors', list(SWEEP), f'Some of {", ".join(FACTORS)}.')
_BENCHMARK = 'robustness'
_TEST_SCENES = 4000


@command_line.one_line_errors
def main(argv):
  """Trains what is missing, then reports."""
  del argv
  logging.set_verbosity(logging.WARNING)  # orbax tells every rename
  if jobs.ONE.value:
    _run(jobs.ONE.value)
    return
  if unknown := set(_FACTORS.value) - set(FACTORS):
    raise UserError(f'--factors={min(unknown)} is none of {", ".join(FACTORS)}')
  results = jobs.run_all(_BENCHMARK, {name: [name] for name in _wanted()}, _name)
  sweep = [run for run in results if run['factor'] in SWEEP]
  jobs.keep_figure(_BENCHMARK, 'map.png', draw(sweep))
  print(table(results))


def table(results):
  """Markdown: for each factor its values, and the count accuracy of each seed.

  Args:
    results: list of dicts that runs have put down.

  Returns:
    text, a table for each of the scenes and number of steps.
  """
  lines = []
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


def draw(results):
  """A map of success: a row for each factor, a field for each value, the worst seed's accuracy.

  Args:
    results: list of dicts that runs have put down.

  Returns:
    matplotlib Figure.
  """
  groups = list(_grouped(results, 'scenes', 'steps'))
  figure = Figure(figsize=(7.6, 0.6 + 3.2 * max(len(groups), 1)), layout='constrained')
  for axis, ((scenes, steps), group) in zip(
    figure.subplots(max(len(groups), 1), 1, squeeze=False)[:, 0], groups, strict=False
  ):
    rows = [factor for factor in FACTORS if any(run['factor'] == factor for run in group)]
    for (factor, value), runs, worst in _points(group):
      column, row = list(FACTORS[factor]).index(value), rows.index(factor)
      good = worst >= runs[0]['success']
      axis.barh(row, 0.94, 0.86, column, color='tab:green' if good else 'tab:red', alpha=0.35)
      axis.text(column + 0.47, row - 0.13, value, ha='center', va='center', fontsize=9)
      shown = f'{100 * worst:.2f} %'
      axis.text(column + 0.47, row + 0.2, shown, ha='center', va='center', fontsize=7)
    names = [factor.replace('_', ' ') for factor in rows]
    axis.set(yticks=range(len(rows)), yticklabels=names, xticks=[])
    axis.invert_yaxis()
    axis.spines[:].set_visible(False)
    axis.set_title(f'{scenes}.py, {steps:,} steps: count accuracy, held out', fontsize=10)
  return figure


def _wanted():
  """Names of all runs asked for; seeds are the outermost loop."""
  steps = jobs.STEPS.value or _config().train.steps
  for seed, factor in itertools.product(range(jobs.SEEDS.value), _FACTORS.value):
    for value in FACTORS[factor]:
      yield f'{_SCENES.value}/{steps}/{factor}/{value}/{seed}'


def _config():
  try:
    return importlib.import_module(f'configs.{_SCENES.value}').get_config()
  except ModuleNotFoundError as error:
    raise UserError(f'--scenes={_SCENES.value} is not the name of a file in configs/') from error


def _run(name):
  """One run: trains it, keeps its result."""
  from air_jax.errors import DivergenceError
  from air_jax.training import loop

  scenes, steps, factor, value, seed = name.split('/')
  config = _config()
  config.seed, config.train.steps = int(seed), int(steps)
  config.data.update(mnist_dir=jobs.MNIST_DIR.value, test_scenes=_TEST_SCENES)
  config.train.update(eval_every=int(steps), checkpoint_every=1000)
  config.update_from_flattened_dict(FACTORS[factor][value])
  folder = jobs.folder(_BENCHMARK) / name
  try:
    summary = loop.train(config, folder / 'run')
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


def _name(run):
  return '/'.join(str(run[key]) for key in ('scenes', 'steps', 'factor', 'value', 'seed'))


def _points(results):
  """((factor, value), its runs, the worst of their accuracies), in the order of `FACTORS`."""
  for factor, values in FACTORS.items():
    for value in values:
      runs = [run for run in results if (run['factor'], run['value']) == (factor, value)]
      if runs:
        yield (factor, value), runs, min(run['count_accuracy'] for run in runs)


def _grouped(results, *names):
  order = sorted(results, key=lambda run: [run[name] for name in names])
  for key, runs in itertools.groupby(order, key=lambda run: tuple(run[name] for name in names)):
    yield key, list(runs)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
