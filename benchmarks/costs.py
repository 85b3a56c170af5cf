"""How long a training step takes by each objective, beside `nvil`'s.

    python -m benchmarks.costs [--objectives=exact,collapsed,nvil] [--particles=5] [--population=1]
        [--kept=FILE]

The model is that of the plain recipe, as in benchmarks/estimators.py, which reads the seconds that
--kept=docs/estimators/costs.json has put down. Rounds of all objectives alternate, so that they see
the same neighbours on a shared machine; medians are reported, after a warm-up, with the median of
the ratios within a round.
"""

import json
import pathlib
import statistics
import time

from absl import app, flags

from air_jax.cli import command_line
from air_jax.configs import plain
from air_jax.objectives.registry import ESTIMATORS
from benchmarks import trainings

_OBJECTIVES = flags.DEFINE_list('objectives', list(ESTIMATORS), 'Names of objectives.')
_PARTICLES = flags.DEFINE_integer('particles', 5, 'Roll-outs where there are several.')
_POPULATION = flags.DEFINE_integer(
  'population', 1, 'Members that learn at once; a step is one of them all.', lower_bound=1
)
_ROUNDS = flags.DEFINE_integer('rounds', 11, 'Timed rounds.', lower_bound=1)
_STEPS = flags.DEFINE_integer('steps', 20, 'Training steps a round.', lower_bound=1)
_KEPT = flags.DEFINE_string('kept', '', 'File to put the medians in.')


@command_line.one_line_errors
def main(argv):
  """Measures and prints."""
  del argv
  names = ['nvil', *(name for name in _OBJECTIVES.value if name != 'nvil')]
  train_by = {name: _training(name) for name in names}
  times = {name: [] for name in names}
  for timed in range(-1, _ROUNDS.value):
    for name, train in train_by.items():
      started = time.perf_counter()
      train()
      if timed >= 0:
        times[name].append((time.perf_counter() - started) / _STEPS.value)
  print(f'{"":18}ms a step   of nvil')
  medians = {}
  for name in sorted(names, key=list(ESTIMATORS).index):
    medians[name] = statistics.median(times[name])
    ratio = statistics.median(a / b for a, b in zip(times[name], times['nvil'], strict=True))
    print(f'{name:18}{1e3 * medians[name]:>9.2f}{ratio:>10.2f}')
  if _KEPT.value:
    pathlib.Path(_KEPT.value).write_text(json.dumps(medians, indent=1) + '\n')


def _training(name):
  """A function that makes so many steps."""
  config = plain.get_config()
  config.objective.update(name=name, particles=_PARTICLES.value)
  config.train.population = _POPULATION.value
  return trainings.make(config, _STEPS.value)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
