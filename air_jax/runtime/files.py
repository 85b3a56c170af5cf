"""Small files, written all or nothing and read with care."""

import json
import os
import pathlib
import tempfile
from typing import Any


def write_atomic(path: str | os.PathLike, data: str | bytes) -> None:
  """Writes a file so that a reader, or a kill, never meets half of it.

  Raises:
    OSError: it cannot be written; what was there before is unchanged.
  """
  path = pathlib.Path(path)
  content = data.encode() if isinstance(data, str) else data
  number, draft = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.', suffix='.tmp')
  try:
    with os.fdopen(number, 'wb') as file:
      file.write(content)
    os.chmod(draft, 0o666 & ~_umask())
    os.replace(draft, path)
  except BaseException:
    os.unlink(draft)
    raise


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes a value as JSON, all or nothing."""
  write_atomic(path, json.dumps(value, indent=2) + '\n')


def read_json(path: str | os.PathLike) -> Any:
  """Reads a JSON file; None where there is none, or where it is not whole."""
  try:
    return json.loads(pathlib.Path(path).read_text())
  except (
    FileNotFoundError,
    ValueError,
    RecursionError,
  ):  # ValueError: also bytes that are not UTF-8
    return None


def _umask() -> int:
  current = os.umask(0)
  os.umask(current)
  return current
