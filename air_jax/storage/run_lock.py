"""One writer for each run: a lock file in the run's folder.

The lock is `run.lock`, created with O_CREAT | O_EXCL, which is atomic on local disks and on NFS
from version 3 on. It names the host and the process of its owner, and is touched every few seconds. A
lock is stale, and is taken over, if its process is gone (on the same host), or if it has not been
touched for two minutes (on another host). So on file systems whose clocks or caches differ by more
than that between hosts (some object stores mounted as folders), two hosts can both believe that
they own the run; use one host, or another folder, there.
"""

import contextlib
import json
import os
import pathlib
import platform
import threading
import time
from collections.abc import Iterator
from typing import Any

from air_jax.errors import UserError

_NAME = 'run.lock'
_TOUCH_S = 10.0  # between two signs of life
_STALE_S = 120.0  # without a sign of life, for a lock of another host
_TRIES = 20


@contextlib.contextmanager
def acquire(folder: pathlib.Path) -> Iterator[None]:
  """While it lasts, this process is the only one that writes to a run's folder.

  Raises:
    UserError: another process does; the message names its host, number and start.
  """
  path, owner = folder / _NAME, _myself()
  _take(path, owner)
  stop = threading.Event()
  beat = threading.Thread(target=_keep_alive, args=(path, stop), daemon=True)
  beat.start()
  try:
    yield
  finally:
    stop.set()
    beat.join()
    if _read(path) == owner:
      path.unlink(missing_ok=True)


def _take(path: pathlib.Path, owner: dict[str, Any]) -> None:
  for _ in range(_TRIES):
    try:
      number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
      holder, age = _read(path), _age(path)
      if age is None:  # it was released meanwhile
        continue
      if _is_alive(holder, age):
        raise UserError(
          f'{path.parent} is in use by process {holder.get("pid", "?")} on '
          f'{holder.get("host", "another host")}, since {holder.get("since", "an unknown time")}; '
          f'choose another folder, or wait until it ends'
        ) from None
      _remove_stale(path, holder)
      continue
    with os.fdopen(number, 'w') as file:
      json.dump(owner, file)
    return
  raise UserError(f'{path} changes hands too quickly; another program is starting on this folder')


def _remove_stale(path: pathlib.Path, holder: dict[str, Any]) -> None:
  """Removes a stale lock, unless another process has just replaced it.

  Renaming is atomic: of several processes that see the same stale lock, one gets it. What it got
  is looked at again, since a new owner may have been quicker.
  """
  aside = path.with_name(f'{_NAME}.{os.getpid()}.{threading.get_ident()}.stale')
  with contextlib.suppress(FileNotFoundError):
    os.rename(path, aside)
    if _read(aside) != holder:
      with contextlib.suppress(FileExistsError):
        os.link(aside, path)
    os.unlink(aside)


def _is_alive(holder: dict[str, Any], age: float) -> bool:
  if not holder:  # it was created, and is being written
    return age < _TOUCH_S
  if holder.get('host') != platform.node():
    return age < _STALE_S
  return holder.get('started') == _started(holder.get('pid'))


def _keep_alive(path: pathlib.Path, stop: threading.Event) -> None:
  while not stop.wait(_TOUCH_S):
    with contextlib.suppress(OSError):
      os.utime(path)


def _age(path: pathlib.Path) -> float | None:
  try:
    return time.time() - path.stat().st_mtime
  except FileNotFoundError:
    return None


def _read(path: pathlib.Path) -> dict[str, Any]:
  try:
    holder = json.loads(path.read_text())
  except (OSError, ValueError):
    return {}
  return holder if isinstance(holder, dict) else {}


def _myself() -> dict[str, Any]:
  since = time.strftime('%Y-%m-%d %H:%M:%S %z')
  pid = os.getpid()
  owner = {'host': platform.node(), 'pid': pid, 'started': _started(pid), 'since': since}
  return owner | {'thread': threading.get_ident()}


def _started(pid: Any) -> str | None:
  """What tells a process from a later one of the same number; None where it is gone."""
  if not isinstance(pid, int):
    return None
  stat = pathlib.Path(f'/proc/{pid}/stat')
  if stat.parent.parent.joinpath('self').exists():  # Linux
    try:
      boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
      fields = stat.read_text().rpartition(')')[2].split()
    except OSError:
      return None
    return None if fields[0] == 'Z' else f'{boot} {fields[19]}'
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return None
  except PermissionError:
    pass
  return 'alive'
