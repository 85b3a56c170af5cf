"""What a member of a population costs beside a run by itself.

    python -m benchmarks.population [--members=8]

Each is timed in a process of its own, for how JAX divides the cores is settled when it starts; the
two take turns, so that both see the same neighbours on a shared machine. A process tells the median
of its rounds after a warm-up; of the processes medians are reported, and the median of the ratios.
"""

import statistics
import subprocess
import sys
import time

from absl import app, flags

from air_jax.cli import command_line
from air_jax.configs import multi_digits
from air_jax.runtime import cpu_devices
from benchmarks import trainings

_MEMBERS = flags.DEFINE_integer('members', 8, 'Members of the population.', lower_bound=2)
_TURNS = flags.DEFINE_integer('turns', 3, 'Processes of each.', lower_bound=1)
_ROUNDS = flags.DEFINE_integer('rounds', 7, 'Timed rounds of a process.', lower_bound=1)
_STEPS = flags.DEFINE_integer('steps', 20, 'Training steps a round.', lower_bound=1)
_ONE = flags.DEFINE_integer('one', 0, 'Members of a population: times this one, here.')


@command_line.one_line_errors
def main(argv):
  """Measures and prints."""
  del argv
  if _ONE.value:
    print(_time(_ONE.value))
    return
  sizes = 1, _MEMBERS.value
  times = {size: [] for size in sizes}
  for _ in range(_TURNS.value):
    for size in sizes:
      command = [sys.executable, '-m', 'benchmarks.population', *sys.argv[1:], f'--one={size}']
      times[size].append(float(subprocess.run(command, capture_output=True, check=True).stdout))
  ratio = statistics.median(a / b for a, b in zip(times[sizes[1]], times[1], strict=True))
  print('members   ms a step and member')
  for size in sizes:
    print(f'{size:>7}{statistics.median(times[size]):>20.2f}')
  print(f'a member of {sizes[1]} takes {ratio:.2f} of the time of a run by itself')


def _time(size):
  """Milliseconds that a step of a member takes."""
  cpu_devices.set_cpu_device_count(size)
  config = multi_digits.get_config()
  config.train.population = size
  train, times = trainings.make(config, _STEPS.value), []
  for _ in range(1 + _ROUNDS.value):
    started = time.perf_counter()
    train()
    times.append(1e3 * (time.perf_counter() - started) / _STEPS.value / size)
  return statistics.median(times[1:])


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
