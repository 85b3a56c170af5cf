"""Many runs of a benchmark, each in a process with cores of its own, and their results.

A finished run writes `result.json` to its folder. All results can also be collected in one file, a
JSON list; a figure of them is put in the same folder.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags
from matplotlib.figure import Figure

from air_jax.errors import UserError
from air_jax.runtime import files

MNIST_DIR = flags.DEFINE_string('mnist_dir', '', 'Folder of the four IDX files of MNIST.')
SEEDS = flags.DEFINE_integer('seeds', 3, 'Number of seeds of each run.', lower_bound=1)
STEPS = flags.DEFINE_integer('steps', None, 'Training steps of each run.', lower_bound=1)
ONE = flags.DEFINE_string('one', '', 'Internal: do the run of this name in this process.')
REPORT = flags.DEFINE_bool('report', False, 'Only report the results so far; train nothing.')
_JOBS = flags.DEFINE_integer('jobs', 2, 'Runs at the same time.', lower_bound=1)
_FOLDER = flags.DEFINE_string('folder', None, 'Folder of the runs; runs/BENCHMARK if none.')
_KEPT = flags.DEFINE_string(
  'kept', None, "File that collects results; docs/BENCHMARK/results.json if none, '' for no file."
)

Result = dict[str, Any]  # ready for JSON
Identify = Callable[[Result], str]  # the name of a result


def run_all(
  benchmark: str, wanted: Mapping[str, Sequence[str]], identify: Identify
) -> list[Result]:
  """Runs in child processes whatever is not finished yet, and returns all results.

  Args:
    benchmark: its name; `python -m benchmarks.NAME --one=RUN`, with the other flags unchanged,
      does one run.
    wanted: the names of the results of each run, by the run's name, in the order to start them.
    identify: result -> its name.

  Returns:
    results; one in the folder replaces one of the same name in the file of --kept.

  Raises:
    UserError: no run is finished.
  """
  if not REPORT.value:
    finished = set(map(identify, results(benchmark, identify)))
    _work(benchmark, [name for name, gives in wanted.items() if not finished.issuperset(gives)])
  found = results(benchmark, identify)
  if not found:
    raise UserError(f'--folder={folder(benchmark)} holds no finished run')
  if kept := _kept(benchmark):
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text('[\n' + ',\n'.join(map(json.dumps, found)) + '\n]\n')
  return found


def results(benchmark: str, identify: Identify) -> list[Result]:
  """The results so far, as `run_all` returns them."""
  kept = _kept(benchmark)
  found = json.loads(kept.read_text()) if kept and kept.is_file() else []
  paths = sorted(folder(benchmark).rglob('result.json'))
  found += [json.loads(path.read_text()) for path in paths]
  return list({identify(result): result for result in found}.values())


def keep_figure(benchmark: str, name: str, figure: Figure) -> None:
  """Saves a figure in the folder of the file that --kept names."""
  if kept := _kept(benchmark):
    figure.savefig(kept.parent / name, dpi=110)


def folder(benchmark: str) -> pathlib.Path:
  """The folder of the runs of a benchmark."""
  return pathlib.Path(_FOLDER.value or f'runs/{benchmark}')


def finish(folder: pathlib.Path, result: Result) -> None:
  """Writes the result of a run to its folder, all or nothing."""
  folder.mkdir(parents=True, exist_ok=True)
  files.write_atomic(folder / 'result.json', json.dumps(result) + '\n')


def _kept(benchmark: str) -> pathlib.Path | None:
  kept = f'docs/{benchmark}/results.json' if _KEPT.value is None else _KEPT.value
  return pathlib.Path(kept) if kept else None


def _work(benchmark: str, waiting: list[str]) -> None:
  """Keeps --jobs child processes busy until no run is waiting."""
  working: dict[int, tuple[str, subprocess.Popen]] = {}
  cores = sorted(os.sched_getaffinity(0))
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
  try:
    while waiting or working:
      while waiting and len(working) < _JOBS.value:
        slot = min(set(range(_JOBS.value)) - working.keys())
        name = waiting.pop(0)
        print(f'{len(waiting):>3} waiting, starting {name}', flush=True)
        working[slot] = name, _start(benchmark, name, cores[slot % len(cores) :: _JOBS.value])
      pid, status = os.wait()
      (slot,) = (slot for slot, (_, child) in working.items() if child.pid == pid)
      name, child = working.pop(slot)
      child.returncode = os.waitstatus_to_exitcode(status)
      if child.returncode:
        log = folder(benchmark) / name / 'log.txt'
        print(f'{name} failed with code {child.returncode}; see {log}', flush=True)
  finally:
    for _, child in working.values():
      child.terminate()


def _start(benchmark: str, name: str, cores: list[int]) -> subprocess.Popen:
  log = folder(benchmark) / name / 'log.txt'
  log.parent.mkdir(parents=True, exist_ok=True)
  with log.open('a') as file:
    return subprocess.Popen(
      [sys.executable, '-m', f'benchmarks.{benchmark}', *sys.argv[1:], f'--one={name}'],
      stdout=file, stderr=file, preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
