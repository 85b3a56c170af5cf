"""Reading checkpoints, which changes nothing on disk."""

import hashlib
import json
import os
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from air_jax.errors import UserError
from air_jax.runtime import distributed
from air_jax.storage import checkpoint_formats as formats

FORBIDDEN = 'it may not be read'


class Restored(NamedTuple):
  """A checkpoint, and those after it that could not be used."""

  step: int
  state: Any  # NumPy arrays
  damaged: list[int]  # steps, newest first


def restore(folder: pathlib.Path, target: Any) -> Restored | None:
  """Restores the newest checkpoint that is sound.

  Args:
    folder: of the checkpoints.
    target: pytree of arrays, or of `jax.ShapeDtypeStruct`s, as it was saved or a part of that;
      checkpoints of earlier versions are converted.

  Returns:
    None where nothing was ever saved.

  Raises:
    UserError: there are checkpoints, and all are damaged or of another model; or one may not be
      read.
  """
  damaged, sound = [], []
  newest_first = steps(folder)
  for step in newest_first:
    try:
      arrays = read(folder, step)
    except Exception as error:  # Orbax raises whatever a broken file made its libraries raise
      if max(steps(folder), default=step) > newest_first[0]:
        return restore(folder, target)  # a process that trains has saved more, and deleted this one
      if isinstance(error, PermissionError) or _forbidden(folder / str(step)):
        raise UserError(
          f'checkpoint {step} in {folder} may not be read; ask its owner for permission'
        ) from error
      damaged.append(step)
      continue
    sound.append(step)
    try:
      return Restored(step, formats.from_arrays(target, arrays), damaged)
    except ValueError:
      continue
  if sound:
    raise UserError(
      f'the checkpoints in {folder} are of another model than its configuration describes'
    )
  if damaged:
    raise UserError(f'every checkpoint in {folder} is damaged; remove that folder to start anew')
  return None


def problem(folder: pathlib.Path, step: int) -> str:
  """What is wrong with a checkpoint, such as `FORBIDDEN`; '' where it is sound."""
  try:
    read(folder, step)
  except Exception as error:  # as in `restore`
    if isinstance(error, PermissionError) or _forbidden(folder / str(step)):
      return FORBIDDEN
    return 'damaged'
  return ''


def steps(folder: pathlib.Path) -> list[int]:
  """The steps of which there is a checkpoint, sound or not, newest first."""
  try:
    names = [path.name for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()]
  except FileNotFoundError:
    return []
  except OSError as error:
    raise UserError(f'{folder} cannot be read: {error.strerror or error}') from error
  return sorted(map(int, names), reverse=True)


def read(folder: pathlib.Path, step: int) -> formats.Arrays:
  """The arrays of a checkpoint in today's format, by name.

  Raises:
    Exception: of nearly any type, where it is damaged.
  """
  path, handler = folder.absolute() / str(step), ocp.PyTreeCheckpointHandler()
  about = json.loads((path / 'digest' / 'metadata').read_text())
  tree = handler.metadata(path / 'state').tree
  as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
  args = ocp.args.PyTreeRestore(restore_args=as_numpy)
  arrays = formats.to_arrays(handler.restore(path / 'state', args=args))
  version = about.get('version', 1)
  if about['sha256'] != digest(arrays, version):
    raise ValueError('its contents do not match its digest')
  if np.any(arrays.get('step', step) != step):
    raise ValueError(f'it is that of step {np.max(arrays["step"])}, under another name')
  return formats.upgrade(arrays, version)


def digest(arrays: formats.Arrays, version: int = formats.VERSION) -> str:
  """SHA-256 of the arrays' names, types, shapes and bytes, in hexadecimal."""
  result = hashlib.sha256()
  for name, array in formats.digest_order(distributed.gather(arrays), version):
    result.update(f'{name} {array.dtype} {array.shape}'.encode())
    result.update(array.tobytes())
  return result.hexdigest()


def _forbidden(folder: pathlib.Path) -> bool:
  """Whether this user may not read some file of a checkpoint."""
  for path, _, names in os.walk(folder, onerror=None):
    if not os.access(path, os.R_OK | os.X_OK):
      return True
    if not all(os.access(os.path.join(path, name), os.R_OK) for name in names):
      return True
  return not os.access(folder, os.R_OK | os.X_OK)
