"""How long a program takes from its launch to its first training step, without and with its cache.

    python -m benchmarks.startup [--config=configs/multi_digits.py] [--starts=5]

Each start is a process of its own, training in a folder of its own. The first composes the scenes
and compiles; those after it find both. Medians are reported, beside that of starts that find the
scenes alone.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app, flags

_MAIN = pathlib.Path(__file__).parent.parent / 'main.py'
_CONFIG = flags.DEFINE_string('config', str(_MAIN.parent / 'configs/multi_digits.py'), 'Of what.')
_STARTS = flags.DEFINE_integer('starts', 5, 'Timed starts of each kind.', lower_bound=1)
_MNIST_DIR = flags.DEFINE_string('mnist_dir', '', "Folder of MNIST's four files.")


def main(argv):
  """Measures and prints."""
  del argv
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    first = _start(folder)
    compiling = [_start(folder, cache=False) for _ in range(_STARTS.value)]
    cached = [_start(folder) for _ in range(_STARTS.value)]
    bare = [_import() for _ in range(_STARTS.value)]
    kept = sum(path.stat().st_size for path in (folder / 'air_jax/compiled').rglob('*'))
  print(f'import of the training   {statistics.median(bare):6.1f} s')
  print(f'very first start         {first:6.1f} s to the first steps, scenes composed')
  print(f'start that compiles      {statistics.median(compiling):6.1f} s')
  print(f'start with what is kept  {statistics.median(cached):6.1f} s')
  print(f'kept on disk             {kept / 1e6:6.1f} MB')


def _start(caches, cache=True):
  """Seconds from the launch of main.py until it tells that its first steps are under way."""
  environment = os.environ | {'XDG_CACHE_HOME': str(caches)}
  environment['JAX_ENABLE_COMPILATION_CACHE'] = str(cache).lower()
  command = [sys.executable, '-u', _MAIN, f'--config={_CONFIG.value}']
  if _MNIST_DIR.value:
    command.append(f'--config.data.mnist_dir={_MNIST_DIR.value}')
  with tempfile.TemporaryDirectory() as workdir:
    started = time.perf_counter()
    with subprocess.Popen(
      [*command, f'--workdir={workdir}/run'], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
      for line in process.stdout:
        if line.startswith('first steps'):
          break
      seconds = time.perf_counter() - started
      process.kill()
  return seconds


def _import():
  started = time.perf_counter()
  subprocess.run(
    [sys.executable, '-c', 'import air_jax.training.loop'], cwd=_MAIN.parent, check=True
  )
  return time.perf_counter() - started


if __name__ == '__main__':
  app.run(main)
