"""Time of a training step with each objective, and its ratio to that of `nvil`.

    python -m benchmarks.costs [--objectives=exact,collapsed,my_module:my_loss] [--particles=5]
        [--population=1] [--kept=FILE]

The settings are those of configs/plain.py. benchmarks/estimators.py reads the times that
--kept=docs/estimators/costs.json writes. Rounds of all objectives alternate, so that all see the
same other load on a shared machine. Medians are reported, after a warm-up; the ratio is the median
of the ratios of each round.
"""

import json
import pathlib
import statistics
import time
from collections.abc import Callable

from absl import app, flags

from air_jax.cli import command_line
from air_jax.configs import plain
from air_jax.objectives import registry
from benchmarks import trainings

_OBJECTIVES = flags.DEFINE_list(
  'objectives', list(registry.ESTIMATORS), 'Names of objectives, or module:attribute.'
)
_PARTICLES = flags.DEFINE_integer('particles', 5, 'Samples K of the multi-sample objectives.')
_POPULATION = flags.DEFINE_integer(
  'population', 1, 'Members trained at once; a step is one step of all of them.', lower_bound=1
)
_ROUNDS = flags.DEFINE_integer('rounds', 11, 'Timed rounds.', lower_bound=1)
_STEPS = flags.DEFINE_integer('steps', 20, 'Training steps per round.', lower_bound=1)
_KEPT = flags.DEFINE_string('kept', '', 'JSON file for the median seconds of each objective.')
_REFERENCE = 'nvil'


@command_line.one_line_errors
def main(argv: list[str]) -> None:
  """Measures and prints."""
  del argv
  names = list(dict.fromkeys([*_OBJECTIVES.value, _REFERENCE]))
  for name in names:
    registry.resolve(name)  # a wrong name is refused before anything is compiled
  train_by = {name: _training(name) for name in names}
  times: dict[str, list[float]] = {name: [] for name in names}
  for timed in range(-1, _ROUNDS.value):
    for name, train in train_by.items():
      started = time.perf_counter()
      train()
      if timed >= 0:
        times[name].append((time.perf_counter() - started) / _STEPS.value)
  medians = {name: statistics.median(times[name]) for name in names}
  width = 2 + max(map(len, names))
  print(f'{"":{width}}ms per step   x {_REFERENCE}')
  for name, median in medians.items():
    ratio = statistics.median(a / b for a, b in zip(times[name], times[_REFERENCE], strict=True))
    print(f'{name:{width}}{1e3 * median:>11.2f}{ratio:>9.2f}')
  if _KEPT.value:
    pathlib.Path(_KEPT.value).write_text(json.dumps(medians, indent=1) + '\n')


def _training(name: str) -> Callable[[], None]:
  """A function that makes the training steps of a round."""
  config = plain.get_config()
  config.objective.update(name=name, particles=_PARTICLES.value)
  config.train.population = _POPULATION.value
  return trainings.build(config, _STEPS.value)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
