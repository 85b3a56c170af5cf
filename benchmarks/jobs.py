"""Many runs of a benchmark, each in a process with cores of its own, and their results.

A finished run writes `result.json` to its folder. All results can also be collected in one file, a
JSON list; a figure of them is put in the same folder. `program` makes the `main` of a benchmark.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import app, flags, logging
from matplotlib.figure import Figure

from air_jax.cli import command_line
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
Main = Callable[[list[str]], None]


class Benchmark(NamedTuple):
  """What tells the runs of a benchmark from those of others, and from each other."""

  name: str  # of its file and of the folders of its runs and results
  keys: tuple[str, ...]  # of a result: their values are its name; those that it lacks are left out

  def name_of(self, result: Result) -> str:
    """The name of a result."""
    return '/'.join(str(result[key]) for key in self.keys if key in result)

  def folder(self, run: str = '') -> pathlib.Path:
    """The folder of a run, or that of all runs."""
    return pathlib.Path(_FOLDER.value or f'runs/{self.name}') / run

  def results(self) -> list[Result]:
    """The results so far; one in the folder replaces one of the same name in the file of --kept."""
    kept = self._kept()
    found = json.loads(kept.read_text()) if kept and kept.is_file() else []
    found += [json.loads(path.read_text()) for path in sorted(self.folder().rglob('result.json'))]
    return list({self.name_of(result): result for result in found}.values())

  def run_all(self, wanted: Mapping[str, Sequence[str]] | Iterable[str]) -> list[Result]:
    """Runs in child processes whatever is not finished yet, and returns all `results`.

    Args:
      wanted: the names of the runs, in the order to start them; with the names of the results of
        each where these are others.

    Raises:
      UserError: no run is finished.
    """
    gives = wanted if isinstance(wanted, Mapping) else {name: [name] for name in wanted}
    if not REPORT.value:
      finished = set(map(self.name_of, self.results()))
      _work(self, [name for name, own in gives.items() if not finished.issuperset(own)])
    found = self.results()
    if not found:
      raise UserError(f'--folder={self.folder()} holds no finished run')
    if kept := self._kept():
      kept.parent.mkdir(parents=True, exist_ok=True)
      kept.write_text('[\n' + ',\n'.join(map(json.dumps, found)) + '\n]\n')
    return found

  def keep_figure(self, name: str, figure: Figure) -> None:
    """Saves a figure in the folder of the file that --kept names."""
    if kept := self._kept():
      figure.savefig(kept.parent / name, dpi=110)

  def _kept(self) -> pathlib.Path | None:
    kept = f'docs/{self.name}/results.json' if _KEPT.value is None else _KEPT.value
    return pathlib.Path(kept) if kept else None


def program(run: Callable[[str], None], report: Callable[[], str]) -> Main:
  """The `main` of a benchmark.

  Args:
    run: makes the run of a name, in this process; what --one asks for.
    report: makes all runs that are missing, by `run_all`, and returns what is printed of them.
  """

  @command_line.one_line_errors
  def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.WARNING)  # Orbax logs every rename
    if ONE.value:
      run(ONE.value)
    else:
      print(report())

  return main


def start(main: Main) -> None:
  """Starts a benchmark as a program."""
  app.run(main, flags_parser=command_line.parse_flags)


def seeds() -> range:
  """The seeds of each run, by --seeds."""
  return range(SEEDS.value)


def check(flag: flags.FlagHolder, known: Collection[str]) -> None:
  """Checks that all values of a flag are known.

  Raises:
    UserError: one is not.
  """
  if unknown := set(flag.value) - set(known):
    raise UserError(f'--{flag.name}: {min(unknown)!r} is none of {", ".join(known)}')


def finish(folder: pathlib.Path, result: Result) -> None:
  """Writes the result of a run to its folder, all or nothing."""
  folder.mkdir(parents=True, exist_ok=True)
  files.write_atomic(folder / 'result.json', json.dumps(result) + '\n')


def _work(benchmark: Benchmark, waiting: list[str]) -> None:
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
        log = benchmark.folder(name) / 'log.txt'
        print(f'{name} failed with code {child.returncode}; see {log}', flush=True)
  finally:
    for _, child in working.values():
      child.terminate()


def _start(benchmark: Benchmark, name: str, cores: list[int]) -> subprocess.Popen:
  log = benchmark.folder(name) / 'log.txt'
  log.parent.mkdir(parents=True, exist_ok=True)
  with log.open('a') as file:
    return subprocess.Popen(
      [sys.executable, '-m', f'benchmarks.{benchmark.name}', *sys.argv[1:], f'--one={name}'],
      stdout=file, stderr=file, preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
