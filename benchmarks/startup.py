"""Time from the start of the program to its first training step, without and with its caches.

    python -m benchmarks.startup [--config=multi_digits] [--starts=5]

Each start is a new process that trains in a new folder. The first start composes the scenes and
compiles. Later starts find the scenes on disk; they are timed with and without the compiled
programs. Medians are reported.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from air_jax.cli import command_line
from air_jax.errors import UserError

_MAIN = pathlib.Path(__file__).parent.parent / 'main.py'
_CONFIG = flags.DEFINE_string('config', 'multi_digits', 'A file or a name of a configuration.')
_STARTS = flags.DEFINE_integer('starts', 5, 'Timed starts of each kind.', lower_bound=1)
_MNIST_DIR = flags.DEFINE_string('mnist_dir', '', 'Folder of the four IDX files of MNIST.')


@command_line.one_line_errors
def main(argv: list[str]) -> None:
  """Measures and prints."""
  del argv
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    first = _start(folder)
    compiling = [_start(folder, cache=False) for _ in range(_STARTS.value)]
    cached = [_start(folder) for _ in range(_STARTS.value)]
    bare = [_import() for _ in range(_STARTS.value)]
    kept = sum(path.stat().st_size for path in (folder / 'air_jax/compiled').rglob('*'))
  print(f'import of air_jax.api        {statistics.median(bare):6.1f} s')
  print(f'first start                  {first:6.1f} s, composes the scenes and compiles')
  print(f'start that compiles          {statistics.median(compiling):6.1f} s')
  print(f'start with compiled programs {statistics.median(cached):6.1f} s')
  print(f'compiled programs            {kept / 1e6:6.1f} MB on disk')


def _start(caches: pathlib.Path, cache: bool = True) -> float:
  """Seconds from the start of main.py until it prints that its first steps are under way."""
  environment = os.environ | {'XDG_CACHE_HOME': str(caches)}
  environment['JAX_ENABLE_COMPILATION_CACHE'] = str(cache).lower()
  command = [sys.executable, '-u', str(_MAIN), f'--config={_CONFIG.value}']
  if _MNIST_DIR.value:
    command.append(f'--config.data.mnist_dir={_MNIST_DIR.value}')
  with tempfile.TemporaryDirectory() as workdir:
    started = time.perf_counter()
    with subprocess.Popen(
      [*command, f'--workdir={workdir}/run'], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
      under_way = any(line.startswith('first steps') for line in process.stdout or ())
      seconds = time.perf_counter() - started
      process.kill()
  if not under_way:
    raise UserError('main.py ended before its first steps; its message is above')
  return seconds


def _import() -> float:
  """Seconds to start Python and import what training needs."""
  started = time.perf_counter()
  subprocess.run([sys.executable, '-c', 'import air_jax.api'], cwd=_MAIN.parent, check=True)
  return time.perf_counter() - started


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
