"""Whether a run survives a kill at any moment, and two processes always find each other.

    python -m benchmarks.soak [--kills=50] [--starts=20]

Kills trainings of configs/tiny.py (kill -9), starts them again until they end, and compares each
final state, bit by bit, with that of a run that was never interrupted. Every second kill is at a
random moment after the start of the program; the others are in the middle of a write, after a file
was written under another name and before it is renamed. After each kill one of the other modes uses
a copy of the run: it must do its work or refuse it in one line. Then starts two processes as one
program, --starts times. Exits with status 1 if anything failed.
"""

import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np
from absl import app, flags, logging

from air_jax.storage import checkpoint_formats
from air_jax.training import restore

_KILLS = flags.DEFINE_integer('kills', 50, 'Trainings killed.', lower_bound=0)
_STARTS = flags.DEFINE_integer('starts', 20, 'Starts of two processes.', lower_bound=0)
_PATIENCE_S = 300
_KILLS_A_RUN = 5
_MODES = 'evaluate', 'figures', 'variance', 'export', 'report', 'check'
_MOST_RENAMES = 40  # a training that is not killed makes about so many
# The program, which waits before it renames a file or folder for the nth time, and says so.
_WAITING = """
import os, pathlib, sys, time
from air_jax.cli import main
left, sign = [int(sys.argv.pop(1))], pathlib.Path(sys.argv.pop(1))

def waiting(rename):
  def renamed(*paths, **options):
    left[0] -= 1
    if left[0] == 0:
      sign.touch()
      time.sleep(600)
    return rename(*paths, **options)
  return renamed

os.rename, os.replace = waiting(os.rename), waiting(os.replace)
main.main()
"""


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
    killed = same = lost = runs = used = 0
    while killed < _KILLS.value:
      run = folder / f'run{runs}'
      for _ in range(min(_KILLS_A_RUN, _KILLS.value - killed)):
        before = _steps(run)
        if killed % 2:
          _kill_in_a_write(run, generator.randrange(1, _MOST_RENAMES))
        else:
          _kill_after(run, generator.uniform(0.0, 1.1 * length))
        killed += 1
        lost += bool(before) and max(_steps(run), default=0) < max(before)
        used += _is_usable(run, folder / 'copy', _MODES[killed % len(_MODES)])
      runs += 1
      same += _train(run).wait() == 0 and _same(run, folder / 'whole')
      print(
        f'{killed} kills: {same} of {runs} runs end the same, {lost} checkpoints lost; after '
        f'{used} kills another mode could use the run',
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
  sys.exit(int(same < runs or lost > 0 or used < killed or met < _STARTS.value))


def _train(
  workdir: pathlib.Path, *more: str, program: Sequence[str] = ('main.py',)
) -> subprocess.Popen:
  command = [sys.executable, *program, '--config=configs/tiny.py', f'--workdir={workdir}', *more]
  quiet = subprocess.DEVNULL
  return subprocess.Popen(command, stdout=quiet, stderr=quiet)


def _kill_after(run: pathlib.Path, seconds: float) -> None:
  """Trains, and kills the program after some time."""
  running = _train(run)
  time.sleep(seconds)
  running.kill()
  running.wait()


def _kill_in_a_write(run: pathlib.Path, number: int) -> None:
  """Trains, and kills the program before its nth rename, if it gets there."""
  sign = run.with_name(f'{run.name}.writes')
  sign.unlink(missing_ok=True)
  running = _train(run, program=('-c', _WAITING, str(number), str(sign)))
  while running.poll() is None and not sign.exists():
    time.sleep(0.05)
  running.kill()
  running.wait()


def _is_usable(run: pathlib.Path, copy: pathlib.Path, mode: str) -> bool:
  """Whether a mode does its work on a copy of a run, or refuses it in one line."""
  shutil.rmtree(copy, ignore_errors=True)
  if not run.exists():
    return True
  shutil.copytree(run, copy)
  (copy / 'run.lock').unlink(missing_ok=True)  # its process is gone
  options = ['--draws=10', '--objectives=exact'] if mode == 'variance' else []
  command = [sys.executable, 'main.py', f'--mode={mode}', f'--workdir={copy}', *options]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  good = done.returncode in (0, 1, 2) and 'Traceback' not in done.stderr
  if not good or (done.returncode == 1 and mode != 'check'):
    print(f'--mode={mode} ended with status {done.returncode}:\n{done.stderr}', flush=True)
    return False
  return True


def _steps(workdir: pathlib.Path) -> list[int]:
  return [int(path.name) for path in (workdir / 'checkpoints').glob('*') if path.name.isdecimal()]


def _same(workdir: pathlib.Path, other: pathlib.Path) -> bool:
  a, b = (checkpoint_formats.to_arrays(restore.restore(path)[1]) for path in (workdir, other))
  return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


if __name__ == '__main__':
  app.run(main)
