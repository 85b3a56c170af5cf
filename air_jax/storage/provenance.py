"""What a run was made with: `provenance.json`, with an entry for each start of training."""

import datetime
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import jax
from absl import logging

from air_jax._version import __version__
from air_jax.errors import UserError
from air_jax.runtime import files

NAME = 'provenance.json'
_LIBRARIES = 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy'
_SOURCE = pathlib.Path(__file__).resolve().parents[2]  # of a clone


def record(folder: pathlib.Path, step: int, command: Sequence[str] | None = None) -> None:
  """Adds an entry about this process, which trains from a step on; logs it if that is impossible.

  Args:
    folder: the run's folder.
    step: the training step.
    command: the command line; None takes that of this process.
  """
  program, *arguments = (sys.argv or ['']) if command is None else command
  entry = {
    'started': datetime.datetime.now().astimezone().isoformat(timespec='seconds'),
    'step': step,
    'command': [pathlib.Path(program).name, *arguments],
    **environment(),
    'processes': jax.process_count(),
    'host': platform.node(),
    'pid': os.getpid(),
  }
  path = folder / NAME
  try:
    files.write_json(path, [*_sound_entries(folder), entry])
  except OSError as error:  # no reason not to train
    logging.warning('%s cannot be written: %s', path, error.strerror)


def environment() -> dict[str, Any]:
  """The `commit` of this program, `versions` of its libraries, and the `device` that JAX uses."""
  return {
    'commit': _commit(_SOURCE),
    'versions': {'air_jax': __version__, 'python': platform.python_version()}
    | {name: found for name in _LIBRARIES if (found := _version(name))},
    'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
  }


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
  """The entries of a run, oldest first; none where the file is damaged, or the run is older."""
  try:
    return entries(folder)
  except UserError as error:
    logging.warning('%s', error)
    return []


def _sound_entries(folder: pathlib.Path) -> list[dict[str, Any]]:
  """The entries; a damaged file is moved away."""
  try:
    return entries(folder)
  except UserError as error:
    path = folder / NAME
    aside = path.with_name(f'damaged-{NAME}')
    logging.warning('%s; it is moved to %s', error, aside.name)
    path.rename(aside)
    return []


def entries(folder: pathlib.Path) -> list[dict[str, Any]]:
  """The entries of a run, oldest first; none where there is no file.

  Raises:
    UserError: the file is damaged.
  """
  return files.read_json(folder / NAME, list[dict[str, Any]]) or []


def _version(library: str) -> str | None:
  try:
    return metadata.version(library)
  except metadata.PackageNotFoundError:
    return None


def _commit(source: pathlib.Path) -> str | None:
  """The commit of a source tree, with '+' where files were changed since; None outside of git."""
  if not (source / '.git').exists():  # installed, perhaps into a tree of somebody else
    return None

  def git(*arguments: str) -> str:
    command = ['git', '-C', str(source), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()

  try:
    changed = git('status', '--porcelain', '--untracked-files=no')
    return git('rev-parse', '--short=12', 'HEAD') + ('+' if changed else '')
  except (OSError, subprocess.SubprocessError):
    return None
