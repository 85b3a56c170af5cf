"""Small files, written all or nothing and read with care."""

import contextlib
import json
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

from air_jax.errors import UserError
from air_jax.runtime import json_forms


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
  """Adds the path to an `OSError` that names no file, such as that of a write to a full disk."""
  try:
    yield
  except OSError as error:
    if error.errno is not None:  # else its message is all it says
      error.filename = error.filename or os.fspath(path)
    raise


def write_atomic(path: str | os.PathLike, data: str | bytes) -> None:
  """Writes a file so that a reader, a kill or a power cut never leaves half of it.

  Raises:
    OSError: it cannot be written; what was there before is unchanged.
  """
  path = pathlib.Path(path)
  draft = path.with_name(f'.{path.name}.{uuid.uuid4().hex}.tmp')
  try:
    with naming(path), draft.open('xb') as file:
      file.write(data.encode() if isinstance(data, str) else data)
      file.flush()
      os.fsync(file.fileno())  # some file systems rename before they write
    os.replace(draft, path)
  except BaseException:
    draft.unlink(missing_ok=True)
    raise


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes a value as JSON, all or nothing."""
  write_atomic(path, json.dumps(value, indent=2) + '\n')


def read_json(path: str | os.PathLike, form: Any = Any) -> Any:
  """Reads a JSON file; None where there is none.

  Args:
    path: of the file.
    form: what its value must be, see `json_forms`.

  Raises:
    UserError: it is cut short, is no JSON, has another form, or cannot be read.
  """
  try:
    value = json.loads(pathlib.Path(path).read_bytes())
  except FileNotFoundError:
    return None
  except (OSError, ValueError, RecursionError) as error:
    raise UserError(f'{path} is damaged or cannot be read: {error}') from error
  if text := json_forms.mismatch(value, form):
    raise UserError(f'{path} is damaged: {text}')
  return value
