"""What a member of a population costs beside a run by itself.

    python -m benchmarks.population [--members=8]

Rounds of the two alternate, so that both see the same neighbours on a shared machine; medians are
reported, after a warm-up, and the median of the ratios of rounds. Prints one table.
"""

import statistics
import time

from absl import app, flags

from air_jax import command_line
from benchmarks import trainings
from configs import multi_digits

_MEMBERS = flags.DEFINE_integer('members', 8, 'Members of the population.', lower_bound=2)
_ROUNDS = flags.DEFINE_integer('rounds', 10, 'Timed rounds.', lower_bound=1)
_STEPS = flags.DEFINE_integer('steps', 20, 'Training steps a round.', lower_bound=1)


@command_line.one_line_errors
def main(argv):
  """Measures and prints."""
  del argv
  sizes = 1, _MEMBERS.value
  train_by = [_training(size) for size in sizes]
  times = {size: [] for size in sizes}
  for timed in range(-1, _ROUNDS.value):
    for size, train in zip(sizes, train_by, strict=True):
      started = time.perf_counter()
      train()
      if timed >= 0:
        times[size].append((time.perf_counter() - started) / _STEPS.value / size)
  ratio = statistics.median(a / b for a, b in zip(times[sizes[1]], times[1], strict=True))
  print('members   ms a step and member')
  for size in sizes:
    print(f'{size:>7}{1e3 * statistics.median(times[size]):>20.2f}')
  print(f'a member of {sizes[1]} takes {ratio:.2f} of the time of a run by itself')


def _training(size):
  """A function that makes so many steps of every member."""
  config = multi_digits.get_config()
  config.train.population = size
  return trainings.make(config, _STEPS.value)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
