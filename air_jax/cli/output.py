"""Files that a mode writes: where they go, and what happens where nothing can be written."""

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator

from air_jax.cli import hints
from air_jax.errors import UserError

_DENIED = errno.EACCES, errno.EPERM, errno.EROFS


def path(given: str | os.PathLike) -> pathlib.Path:
  """A path that a flag names; ~ stays where there is no home folder."""
  return pathlib.Path(os.path.expanduser(given))


def write_new(target: pathlib.Path, data: bytes) -> None:
  """Writes a file that is not there yet.

  Raises:
    UserError: it is there, or cannot be written.
  """
  try:
    with target.open('xb') as file:
      file.write(data)
  except OSError as error:
    raise UserError(f'cannot write {target}: {error.strerror}; --out=FILE names another') from error


def folder(out: str | None, run: pathlib.Path) -> pathlib.Path:
  """The folder to write to: a new one that --out names, or that of the run.

  Raises:
    UserError: it holds something, or cannot be written to.
  """
  if not out:
    if not _writable(run):
      raise UserError(f'{run} cannot be written to; --out=FOLDER names another')
    return run
  target = path(out)
  try:
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
      raise UserError(f'--out={out} is not empty; it must name a new folder')
  except OSError as error:
    raise UserError(f'--out={out} cannot be made: {error.strerror}') from error
  return target


def _writable(folder: pathlib.Path) -> bool:
  """Whether files can be made in a folder, or the folder itself where it is missing."""
  there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
  return os.access(there, os.W_OK | os.X_OK)


@contextlib.contextmanager
def kept_in(folder: pathlib.Path) -> Iterator[None]:
  """Says in one line that nothing is kept, where the block may not write to a folder."""
  try:
    yield
  except OSError as error:
    if error.errno not in _DENIED:
      raise
    hints.say(f'nothing is kept in {folder}: {error.strerror}')
