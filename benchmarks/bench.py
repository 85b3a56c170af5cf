"""The benchmarks that fit in ten minutes on two cores, one after another, and what they printed.

    python -m benchmarks.bench [startup] [throughput] ...

docs/benchmarks.json holds, for each, its command, when it ended, its seconds, what it printed, and
the machine, versions and commit. `load` is the number of busy processes before it started:
figures with a load of much above 0 are of a machine that did something else, too. With names only
these run, and the others keep what they had. Ends with status 1 if one failed, which keeps nothing.
"""

import datetime
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import time
from typing import Any

from air_jax.cli import command_line
from air_jax.errors import UserError
from air_jax.runtime import files, memory
from air_jax.storage import provenance

KEPT = pathlib.Path(__file__).parent.parent / 'docs' / 'benchmarks.json'
BENCHMARKS = {
  'startup': ['--starts=3'],
  'throughput': [],
  'population': ['--turns=1'],
  'parsing': [],
  'data': ['--what=compose'],
  'renderer': [],
}  # by name of the module: its arguments
_MOST_S = 600  # of one benchmark


@command_line.one_line_errors
def main() -> None:
  """Runs them, and says what failed."""
  chosen = sys.argv[1:] or [*BENCHMARKS]
  if unknown := [name for name in chosen if name not in BENCHMARKS]:
    raise UserError(f'no benchmark {unknown[0]!r}; there are {", ".join(BENCHMARKS)}')
  failed = [name for name in chosen if not run(name, KEPT)]
  if failed:
    raise UserError(f'failed, and kept nothing: {", ".join(failed)}')


def run(name: str, kept: pathlib.Path) -> bool:
  """Runs a benchmark in a process of its own and keeps what it prints; whether it succeeded."""
  arguments = ['-m', f'benchmarks.{name}', *BENCHMARKS[name]]
  print(f'{name}: python {shlex.join(arguments)}', flush=True)
  load, started = os.getloadavg()[0], time.perf_counter()
  try:
    done = subprocess.run(
      [sys.executable, *arguments], cwd=pathlib.Path(__file__).parent.parent, text=True,
      stdout=subprocess.PIPE, timeout=_MOST_S, check=False,
    )  # fmt: skip
  except subprocess.TimeoutExpired:
    print(f'{name}: not done after {_MOST_S} s', flush=True)
    return False
  print(done.stdout, flush=True)
  if done.returncode:
    return False
  entry = {
    'command': f'python {shlex.join(arguments)}',
    'ended': datetime.datetime.now().astimezone().isoformat(timespec='seconds'),
    'seconds': round(time.perf_counter() - started, 1),
    'load': round(load, 2),
    **machine(),
    **provenance.environment(),
    'printed': done.stdout.splitlines(),
  }
  known = (files.read_json(kept, dict[str, Any]) if kept.exists() else None) or {}
  files.write_json(kept, {each: (known | {name: entry})[each] for each in sorted({*known, name})})
  return True


def machine() -> dict[str, Any]:
  """The `processor`, how many `cores` this process may use, and the `memory` in GB."""
  return {
    'processor': _processor(),
    'cores': len(os.sched_getaffinity(0)),
    'memory_gb': round(memory.of_machine() / 1e9, 1),
  }


def _processor():
  path = pathlib.Path('/proc/cpuinfo')
  lines = path.read_text().splitlines() if path.exists() else []
  names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
  return names[0] if names else platform.processor() or platform.machine()


if __name__ == '__main__':
  main()
