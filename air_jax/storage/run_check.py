"""Whether the files of a run are sound; those that are not are mended where that is possible."""

import functools
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from air_jax.errors import UserError
from air_jax.runtime import files
from air_jax.storage import checkpoint_reader, checkpoints, metric_writers, provenance, run_dir

SOUND, MENDED, DAMAGED = 'sound', 'mended', 'damaged'


class Finding(NamedTuple):
  """What became of one file of a run."""

  name: str  # path in the run's folder
  state: str  # `SOUND`, `MENDED` or `DAMAGED`: it still is
  text: str = ''


def check(folder: pathlib.Path, members: int) -> list[Finding]:
  """Checks every file of a run that other modes read, and mends what can be.

  A damaged file is never deleted: it is renamed to `damaged-...` in its folder.

  Args:
    folder: of the run, in which nobody trains.
    members: of the population.
  """
  folders = {'': folder}
  if members > 1:
    dirs = run_dir.member_dirs(folder, members)
    folders |= {f'{each.relative_to(folder)}/': each for each in dirs if each.is_dir()}
  found = [*_checkpoints(folder / 'checkpoints')]
  for prefix, each in folders.items():
    found += [*_metrics(each, prefix), *_evaluation(each, prefix), *_reference(each, prefix)]
  found += _one(folder / provenance.NAME, provenance.NAME, lambda: provenance.entries(folder))
  try:
    run_dir.diverged(folder, 0, members)
  except UserError as error:  # nothing else says which members had diverged
    found.append(Finding(run_dir.DIVERGED, DAMAGED, str(error)))
  return found


def _checkpoints(folder: pathlib.Path) -> Iterator[Finding]:
  problems = {step: checkpoint_reader.problem(folder, step) for step in _steps(folder)}
  for step, problem in sorted(problems.items()):
    name = f'checkpoints/{step}'
    if not problem:
      yield Finding(name, SOUND)
    elif problem == checkpoint_reader.FORBIDDEN or all(problems.values()):
      yield Finding(name, DAMAGED, problem)
    else:

      def move(step: int = step) -> str:
        return checkpoints.set_aside(folder, step).name

      yield _mended(name, problem, move)
  for step, remove in checkpoints.damaged_bounds(folder).items():
    yield _mended(f'checkpoints/{step}/metrics', 'damaged, and no longer counts', remove)


def _steps(folder: pathlib.Path) -> list[int]:
  return checkpoint_reader.steps(folder) if folder.is_dir() else []


def _metrics(folder: pathlib.Path, prefix: str) -> Iterator[Finding]:
  path, name = folder / metric_writers.NAME, f'{prefix}{metric_writers.NAME}'
  if not path.exists():
    return
  records, bad = metric_writers.parse(path.read_bytes())
  if not bad:
    yield Finding(name, SOUND)
    return

  def rewrite() -> str:
    aside = _move_aside(path)
    files.write_atomic(path, ''.join(json.dumps(each) + '\n' for each in records))
    return aside

  lines = ', '.join(map(str, bad))
  yield _mended(name, f'lines without a record are left out: {lines}', rewrite)


def _evaluation(folder: pathlib.Path, prefix: str) -> list[Finding]:
  path = folder / run_dir.EVALUATION
  return _one(path, f'{prefix}{run_dir.EVALUATION}', lambda: run_dir.read_evaluation(folder))


def _reference(folder: pathlib.Path, prefix: str) -> list[Finding]:
  path = folder / run_dir.REFERENCE
  read = functools.partial(run_dir.read_reference, folder, dict[str, Any])
  return _one(path, f'{prefix}{run_dir.REFERENCE}', read)


def _one(path: pathlib.Path, name: str, read: Callable[[], object]) -> list[Finding]:
  """Checks a file by reading it; where it is damaged it is moved aside."""
  if not path.exists():
    return []
  try:
    read()
  except UserError:
    return [_mended(name, 'damaged', lambda: _move_aside(path))]
  return [Finding(name, SOUND)]


def _mended(name: str, problem: str, mend: Callable[[], str]) -> Finding:
  """Mends something; `mend` returns the name that the damaged file has now, or ''."""
  try:
    aside = mend()
  except OSError as error:
    return Finding(name, DAMAGED, f'{problem}; not mended: {error.strerror}')
  return Finding(name, MENDED, f'{problem}; now {aside}' if aside else problem)


def _move_aside(path: pathlib.Path) -> str:
  for number in range(1000):
    aside = path.with_name(f'damaged-{number}-{path.name}')
    if not aside.exists():
      path.rename(aside)
      return aside.name
  raise FileExistsError(None, 'too many damaged files', str(path))
