"""A run's folder: which run it belongs to, and where its files are.

config.json      the full configuration the run was started with
provenance.json  versions, command and device of each start
metrics.jsonl    one JSON object a line
tensorboard/     the same scalars, figures, histograms, and the configuration
checkpoints/     Orbax, one folder a step
figures/         PNGs of the last evaluation, and GIFs at the end
frames/          the frames of learning.gif
evaluation.json  the summary of the last evaluation
reference.json   what held-out images are like, see evaluation/familiarity.py
run.lock         while a process trains

That of a population also holds

members/003/     metrics, events, figures, evaluation and reference of member 3; checkpoints hold
                 all members
diverged.json    members that diverged: at which step, and what first
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from air_jax.config import flat, saved_configs
from air_jax.errors import UserError
from air_jax.runtime import distributed, files
from air_jax.storage import run_lock, summary_form

_CONFIG, DIVERGED, EVALUATION = 'config.json', 'diverged.json', 'evaluation.json'
REFERENCE = 'reference.json'
FRAMES = 'frames'
_MEND_DIVERGED = 'restore it, or remove it if no member had diverged'


@contextlib.contextmanager
def open_for_writing(workdir: str | os.PathLike, config: ConfigDict) -> Iterator[pathlib.Path]:
  """Creates a run's folder or resumes it; no other process may train in it meanwhile.

  Args:
    workdir: path; made where there is none.
    config: of the run.

  Raises:
    UserError: it cannot be written to, is in use, or belongs to a run of another configuration.
      One that only has more `train.steps` or another `train.stop_when` continues the run.
  """
  folder = pathlib.Path(os.path.expanduser(workdir))
  with contextlib.ExitStack() as stack:
    try:
      folder.mkdir(parents=True, exist_ok=True)
      if distributed.is_primary():
        stack.enter_context(run_lock.acquire(folder))
      create_or_resume(folder, config)
    except OSError as error:
      raise UserError(f'workdir {workdir} cannot be used: {error.strerror or error}') from error
    yield folder


def create_or_resume(folder: pathlib.Path, config: ConfigDict) -> None:
  """Writes a run's configuration to its folder, or checks that the folder has the same one.

  Raises:
    UserError: the folder belongs to a run of another configuration.
    OSError: it cannot be written to.
  """
  path = folder / _CONFIG
  if not path.exists():
    if not distributed.is_primary():
      raise UserError(f'workdir {folder} is not the same folder on every host; it must be')
    if (folder / 'checkpoints').exists():
      raise UserError(f'{folder} holds checkpoints but no {_CONFIG}; choose another folder')
    files.write_atomic(path, saved_configs.to_json(config))
  elif changed := saved_configs.changed_keys(old := load_config(folder), config):
    _check_continues(folder, old, config, changed)
    if distributed.is_primary():
      files.write_atomic(path, saved_configs.to_json(config))


def load_config(workdir: str | os.PathLike) -> ConfigDict:
  """The configuration of the run in a folder.

  Raises:
    UserError: there is no run.
  """
  path = pathlib.Path(os.path.expanduser(workdir)) / _CONFIG
  try:
    return saved_configs.from_json(path.read_text(), str(path))
  except (OSError, ValueError, RecursionError) as error:
    raise UserError(f'{workdir} holds no run: cannot read {path} ({error})') from error


def exists(workdir: str | os.PathLike) -> bool:
  """Whether a folder is that of a run."""
  return (pathlib.Path(os.path.expanduser(workdir)) / _CONFIG).exists()


def member_dirs(folder: pathlib.Path, size: int) -> list[pathlib.Path]:
  """The folders of the members; that of a single run is the run's."""
  return [folder / 'members' / f'{i:03}' for i in range(size)] if size > 1 else [folder]


def write_evaluation(folder: pathlib.Path, summary: dict[str, Any]) -> None:
  """Keeps the summary of an evaluation, in a folder that is made if there is none."""
  folder.mkdir(parents=True, exist_ok=True)
  files.write_json(folder / EVALUATION, summary)


def read_evaluation(folder: pathlib.Path) -> dict[str, Any] | None:
  """The summary that `write_evaluation` kept; None where there is none.

  Raises:
    UserError: the file is damaged.
  """
  path = folder / EVALUATION
  summary = files.read_json(path)
  if summary is not None and (text := summary_form.mismatch_of_summary(summary)):
    raise UserError(f'{path} is damaged: {text}; evaluate the run anew')
  return summary


def write_reference(folder: pathlib.Path, reference: dict[str, Any]) -> None:
  """Keeps what held-out images are like, in a folder that is made if there is none."""
  folder.mkdir(parents=True, exist_ok=True)
  files.write_json(folder / REFERENCE, reference)


def read_reference(folder: pathlib.Path, form: Any) -> Any:
  """What `write_reference` kept, of this form; None where there is none.

  Raises:
    UserError: the file is damaged.
  """
  return files.read_json(folder / REFERENCE, form)


def write_diverged(folder: pathlib.Path, known: dict[int, dict[str, Any]]) -> None:
  """Keeps which members have diverged, see `diverged`."""
  files.write_json(folder / DIVERGED, known)


def diverged(folder: pathlib.Path, step: int, size: int) -> dict[int, dict[str, Any]]:
  """Members that had diverged by a step: when (`step`), and `what` was not finite.

  Args:
    folder: of the run.
    step: of a checkpoint, which has members that had not diverged.
    size: the number of members.

  Raises:
    UserError: the file is not what `write_diverged` wrote.
  """
  path = folder / DIVERGED
  try:
    known = files.read_json(path, dict[str, summary_form.Diverged]) if path.exists() else {}
  except UserError as error:
    raise UserError(f'{error}; {_MEND_DIVERGED}') from error
  known = {name: each for name, each in known.items() if each['step'] <= step}
  found = {i: known[str(i)] for i in range(size) if str(i) in known}
  if len(found) < len(known) or len(found) == size or not all(x['what'] for x in found.values()):
    raise UserError(f'{path} is damaged: it is not of {size} members; {_MEND_DIVERGED}')
  return found


def _check_continues(
  folder: pathlib.Path, old: ConfigDict, new: ConfigDict, changed: list[str]
) -> None:
  there, now = flat.flatten(old), flat.flatten(new)
  free = {'train.steps', 'train.stop_when'}
  if {*changed} <= free and now['train.steps'] >= there['train.steps']:
    return
  differences = ', '.join(
    f'{key} ({flat.shown(there.get(key))} there, {flat.shown(now.get(key))} now)' for key in changed
  )
  raise UserError(
    f'{folder} belongs to a run of another configuration: {differences}; choose another folder, '
    'or change nothing but train.stop_when, or to raise train.steps'
  )
