"""Many runs of a benchmark, each a program of its own on cores of its own, and their results.

What is finished lies as `result.json` in the folder of the run, and may also be kept in a file of
all results, a JSON list, with what was drawn of it beside.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys

from absl import flags

from air_jax.errors import UserError

MNIST_DIR = flags.DEFINE_string('mnist_dir', '', 'Folder of the four IDX files of MNIST.')
SEEDS = flags.DEFINE_integer('seeds', 3, 'Seeds of each.', lower_bound=1)
STEPS = flags.DEFINE_integer('steps', None, 'Steps of each run.', lower_bound=1)
ONE = flags.DEFINE_string('one', '', 'Name of a run: does this one alone, here.')
_JOBS = flags.DEFINE_integer('jobs', 2, 'Runs at a time.', lower_bound=1)
_FOLDER = flags.DEFINE_string('folder', None, 'Where runs are kept; default runs/<benchmark>.')
_KEPT = flags.DEFINE_string(
  'kept', None, "File that collects results; default docs/<benchmark>/results.json, '' for none."
)
_REPORT = flags.DEFINE_bool('report', False, 'Report alone.')


def run_all(benchmark, wanted, identify):
  """Keeps so many children at work until all is finished, and collects what there is.

  Args:
    benchmark: its name; `python -m benchmarks.NAME --one=RUN`, with the other flags as they are,
      does one run.
    wanted: dict from names of the runs, in the order to start them, to the names of their results.
    identify: result -> its name.

  Returns:
    list of results: kept ones first, each in the place of which one of the folder may step.

  Raises:
    UserError: nothing is finished.
  """
  if not _REPORT.value:
    finished = set(map(identify, results(benchmark, identify)))
    _work(benchmark, [name for name, gives in wanted.items() if not finished.issuperset(gives)])
  found = results(benchmark, identify)
  if not found:
    raise UserError(f'--folder={folder(benchmark)} holds no finished run')
  if kept := _kept(benchmark):
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text('[\n' + ',\n'.join(map(json.dumps, found)) + '\n]\n')
  return found


def results(benchmark, identify):
  """What is finished and what was kept, as `run_all` gives it."""
  kept = _kept(benchmark)
  found = json.loads(kept.read_text()) if kept and kept.is_file() else []
  paths = sorted(folder(benchmark).rglob('result.json'))
  found += [json.loads(path.read_text()) for path in paths]
  return list({identify(result): result for result in found}.values())


def keep_figure(benchmark, name, figure):
  """Puts a picture beside the kept results."""
  if kept := _kept(benchmark):
    figure.savefig(kept.parent / name, dpi=110)


def folder(benchmark):
  """Where the runs of a benchmark are."""
  return pathlib.Path(_FOLDER.value or f'runs/{benchmark}')


def finish(folder, result):
  """Puts down what a run found, all or nothing."""
  folder.mkdir(parents=True, exist_ok=True)
  draft = folder / 'result.tmp'
  draft.write_text(json.dumps(result) + '\n')
  os.replace(draft, folder / 'result.json')


def _kept(benchmark):
  kept = f'docs/{benchmark}/results.json' if _KEPT.value is None else _KEPT.value
  return pathlib.Path(kept) if kept else None


def _work(benchmark, waiting):
  working, cores = {}, sorted(os.sched_getaffinity(0))
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
  try:
    while waiting or working:
      while waiting and len(working) < _JOBS.value:
        slot = min(set(range(_JOBS.value)) - working.keys())
        name = waiting.pop(0)
        print(f'{len(waiting):>3} waiting, starting {name}', flush=True)
        share = cores[slot % len(cores) :: _JOBS.value]
        working[slot] = name, _start(benchmark, name, share)
      pid, status = os.wait()
      (slot,) = (slot for slot, (_, child) in working.items() if child.pid == pid)
      name, child = working.pop(slot)
      child.returncode = os.waitstatus_to_exitcode(status)
      if child.returncode:
        print(f'{name} failed with code {child.returncode}; see its log', flush=True)
  finally:
    for _, child in working.values():
      child.terminate()


def _start(benchmark, name, cores):
  log = folder(benchmark) / name / 'log.txt'
  log.parent.mkdir(parents=True, exist_ok=True)
  with log.open('a') as file:
    return subprocess.Popen(
      [sys.executable, '-m', f'benchmarks.{benchmark}', *sys.argv[1:], f'--one={name}'],
      stdout=file, stderr=file, preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
