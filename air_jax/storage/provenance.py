"""What a run was made with: `provenance.json`, an entry for each start of training."""

import datetime
import os
import pathlib
import platform
import subprocess
import sys
from importlib import metadata
from typing import Any

import jax

import air_jax
from air_jax.runtime import files

_NAME = 'provenance.json'
_LIBRARIES = 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy'


def record(folder: pathlib.Path, step: int) -> None:
  """Adds an entry about this process, which trains from a step on."""
  device = jax.devices()[0]
  entry = {
    'started': datetime.datetime.now().astimezone().isoformat(timespec='seconds'),
    'step': step,
    'command': [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]],
    'commit': _commit(),
    'versions': {'air_jax': air_jax.__version__, 'python': platform.python_version()}
    | {name: metadata.version(name) for name in _LIBRARIES},
    'device': f'{jax.device_count()} x {device.device_kind}',
    'processes': jax.process_count(),
    'host': platform.node(),
    'pid': os.getpid(),
  }
  files.write_json(folder / _NAME, [*read(folder), entry])


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
  """The entries of a run, oldest first; none where an earlier version wrote it."""
  entries = files.read_json(folder / _NAME)
  return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


def _commit() -> str | None:
  """The commit of this source tree, with '+' where it was changed since; None for a package."""
  root = pathlib.Path(air_jax.__file__).parents[1]
  if not (root / '.git').exists():
    return None

  def git(*arguments):
    command = ['git', '-C', str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout

  try:
    changed = git('status', '--porcelain', '--untracked-files=no').strip()
    return git('rev-parse', '--short=12', 'HEAD').strip() + ('+' if changed else '')
  except (OSError, subprocess.SubprocessError):
    return None
