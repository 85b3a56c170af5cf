"""Whether a run survives a kill at any moment, and two processes always find each other.

    python -m benchmarks.soak [--kills=50] [--starts=20]

Kills trainings of configs/tiny.py (kill -9) at random moments after the start of the program,
starts them again until they end, and compares each final state, bit by bit, with that of a run that
was never interrupted. Then starts two processes as one program, --starts times. Exits with status 1
if anything failed.
"""

import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import app, flags, logging

from air_jax.storage import checkpoint_formats
from air_jax.training import restore

_KILLS = flags.DEFINE_integer('kills', 50, 'Trainings killed.', lower_bound=0)
_STARTS = flags.DEFINE_integer('starts', 20, 'Starts of two processes.', lower_bound=0)
_PATIENCE_S = 300
_KILLS_A_RUN = 5


def main(argv: list[str]) -> None:
  """Prints how many runs and starts went well."""
  del argv
  logging.set_verbosity(logging.WARNING)  # Orbax logs every rename
  generator = random.Random(0)
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    _train(folder / 'compiles').wait()
    begun = time.monotonic()
    _train(folder / 'whole').wait()
    length = time.monotonic() - begun
    killed = same = lost = runs = 0
    while killed < _KILLS.value:
      run = folder / f'run{runs}'
      for _ in range(min(_KILLS_A_RUN, _KILLS.value - killed)):
        before, running = _steps(run), _train(run)
        time.sleep(generator.uniform(0.0, 1.1 * length))
        running.kill()
        running.wait()
        killed += 1
        lost += bool(before) and max(_steps(run), default=0) < max(before)
      runs += 1
      same += _train(run).wait() == 0 and _same(run, folder / 'whole')
      print(
        f'{killed} kills: {same} of {runs} runs end the same, {lost} checkpoints lost',
        flush=True,
      )
    met = 0
    for i in range(_STARTS.value):
      with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        port = listener.getsockname()[1]
      both = f'--coordinator=127.0.0.1:{port}', '--processes=2', '--config.train.steps=5'
      two = [_train(folder / f'two{i}', *both, f'--process={p}') for p in range(2)]
      try:
        met += [process.wait(_PATIENCE_S) for process in two] == [0, 0]
      except subprocess.TimeoutExpired:
        for process in two:
          process.kill()
      print(f'{met} of {i + 1} starts of two processes train and end', flush=True)
  sys.exit(int(same < runs or lost > 0 or met < _STARTS.value))


def _train(workdir: pathlib.Path, *more: str) -> subprocess.Popen:
  command = [sys.executable, 'main.py', '--config=configs/tiny.py', f'--workdir={workdir}', *more]
  quiet = subprocess.DEVNULL
  return subprocess.Popen(command, stdout=quiet, stderr=quiet)


def _steps(workdir: pathlib.Path) -> list[int]:
  return [int(path.name) for path in (workdir / 'checkpoints').glob('*') if path.name.isdecimal()]


def _same(workdir: pathlib.Path, other: pathlib.Path) -> bool:
  a, b = (checkpoint_formats.to_arrays(restore.restore(path)[1]) for path in (workdir, other))
  return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


if __name__ == '__main__':
  app.run(main)
