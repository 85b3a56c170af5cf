"""Time of a training step for each member of a population, and for a single run.

    python -m benchmarks.population [--members=8]

Each is timed in processes of its own, because JAX divides the cores when it starts. The two
alternate, so that both see the same other load on a shared machine. A process reports the median of
its rounds after a warm-up. The table shows medians over processes; the ratio is the median of the
ratios of each pair of processes.
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
_STEPS = flags.DEFINE_integer('steps', 20, 'Training steps per round.', lower_bound=1)
_ONE = flags.DEFINE_integer('one', 0, 'Internal: time one population of this size, and end.')


@command_line.one_line_errors
def main(argv: list[str]) -> None:
  """Measures and prints."""
  del argv
  if _ONE.value:
    print(_time(_ONE.value))
    return
  sizes = 1, _MEMBERS.value
  times: dict[int, list[float]] = {size: [] for size in sizes}
  for _ in range(_TURNS.value):
    for size in sizes:
      command = [sys.executable, '-m', 'benchmarks.population', *sys.argv[1:], f'--one={size}']
      done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
      times[size].append(float(done.stdout))
  ratio = statistics.median(a / b for a, b in zip(times[sizes[1]], times[1], strict=True))
  print('members   ms per step and member')
  for size in sizes:
    print(f'{size:>7}{statistics.median(times[size]):>25.2f}')
  print(f'a member of {sizes[1]} takes {ratio:.2f} of the time of a single run')


def _time(size: int) -> float:
  """Milliseconds of a training step for each member."""
  cpu_devices.set_cpu_device_count(size)
  config = multi_digits.get_config()
  config.train.population = size
  train, times = trainings.build(config, _STEPS.value), []
  for _ in range(1 + _ROUNDS.value):
    started = time.perf_counter()
    train()
    times.append(1e3 * (time.perf_counter() - started) / _STEPS.value / size)
  return statistics.median(times[1:])


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
