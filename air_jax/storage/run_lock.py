"""One writer for each run: a lock file in the run's folder.

`run.lock` names the host and the process of its owner, which touches the file every few seconds. It
is made by a hard link, or by exclusive creation where there are no links: both are atomic on local
disks and on NFS. A lock is stale, and is taken over,

* at once, if its process ran on this machine and is gone;
* after two minutes without a touch, where that cannot be known: on another host, in another
  container. Half a minute is enough where the host has the same name: it was started anew.
  Whoever finds such a lock waits so long, and is refused as soon as it is touched.

Ages are differences of times of the file system, so that clocks of hosts may differ. What this
cannot do: on file systems without atomic creation (object stores mounted as folders), or whose
hosts see each other's files minutes late, two hosts may both get the lock. A process that another
host believed dead, since it was suspended for minutes, logs an error when it wakes up, and must be
stopped. There, give each host a folder of its own.
"""

import contextlib
import fcntl
import json
import math
import os
import pathlib
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, NotRequired, TypedDict

from absl import logging

from air_jax.errors import UserError
from air_jax.runtime import files

_NAME = 'run.lock'
_TOUCH_S = 10.0  # between two signs of life
_STALE_S = 120.0  # without a sign of life
_RESTARTED_S = 30.0  # the same, on a host of our name
_WATCH_S = 1.0  # between two looks at a lock that may be stale
_TRIES = 200


class _Owner(TypedDict):
  """What a lock says."""

  host: str
  pid: int
  since: NotRequired[str]
  machine: NotRequired[str]
  started: NotRequired[str | None]  # see `_started`
  token: NotRequired[str]


@contextlib.contextmanager
def acquire(folder: pathlib.Path) -> Iterator[None]:
  """While it lasts, this process is the only one that writes to a run's folder.

  Raises:
    UserError: another process does; the message names its host, number and start.
    OSError: the folder cannot be written to.
  """
  path, owner = folder / _NAME, _myself()
  _take(path, owner)
  stop = threading.Event()
  touching = threading.Thread(target=_keep_alive, args=(path, owner, stop), daemon=True)
  touching.start()
  try:
    yield
  finally:
    stop.set()
    touching.join()
    with contextlib.suppress(OSError), _guard(folder):
      if _read(path) == owner:
        path.unlink()


def _take(path: pathlib.Path, owner: dict[str, Any]) -> None:
  """Makes the lock, or refuses; where the owner may be gone, waits for a sign of life first."""
  draft, seen = path.with_name(f'.{_NAME}.{owner["token"]}'), None
  draft.write_text(json.dumps(owner))
  try:
    for _ in range(_TRIES):
      with _guard(path.parent):
        if _create(path, draft):
          return
        holder, touched = _read(path), _touched(path)
        if touched is None:
          continue  # it was released meanwhile
        os.utime(draft)
        remaining = _remaining(holder, draft.stat().st_mtime - touched)
        if not remaining:
          _remove_stale(path, holder, draft.with_name(f'{draft.name}.stale'))
          continue
      if math.isinf(remaining) or (seen and (holder != seen[0] or touched > seen[1])):
        raise UserError(
          f'{path.parent} is in use by {_name(holder)}, since {holder.get("since", "some time")}; '
          'wait until it ends, or choose another folder'
        )
      if seen is None:
        who, most = _name(holder), math.ceil(remaining)
        logging.warning('%s names %s: waiting %d s for a sign of life', path, who, most)
      seen = holder, touched
      time.sleep(min(remaining, _WATCH_S))
    raise UserError(f'{path} cannot be made or taken over; remove it if no program uses the folder')
  finally:
    draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _guard(folder: pathlib.Path) -> Iterator[None]:
  """Lets one process of this machine at a time examine and change the lock."""
  with contextlib.ExitStack() as stack:
    with contextlib.suppress(OSError):  # where a folder cannot be locked, we go without
      number = os.open(folder, os.O_RDONLY)
      stack.callback(os.close, number)
      fcntl.flock(number, fcntl.LOCK_EX)
    yield


def _create(path: pathlib.Path, draft: pathlib.Path) -> bool:
  """Makes the lock in one step; False where there is one."""
  try:
    os.link(draft, path)
  except FileExistsError:
    return draft.stat().st_nlink > 1  # on NFS a link can succeed while its answer is lost
  except OSError:  # there are no hard links
    try:
      with path.open('x') as file:
        file.write(draft.read_text())
    except FileExistsError:
      return False
  return True


def _remove_stale(path: pathlib.Path, holder: dict[str, Any], aside: pathlib.Path) -> None:
  """Removes a stale lock, unless another host has just replaced it."""
  with contextlib.suppress(FileNotFoundError):
    os.rename(path, aside)  # of several hosts one gets it; what it got may be a new lock
    if _read(aside) == holder:
      logging.warning('%s: taking over from %s, which is gone', path, _name(holder))
    else:
      with contextlib.suppress(FileExistsError):
        os.link(aside, path)
    aside.unlink()


def _remaining(holder: dict[str, Any], age: float) -> float:
  """Seconds after which a lock is stale: 0 if it is so now, infinity while its process lives."""
  if holder.get('machine') == _machine():
    started, then = _started(holder.get('pid')), holder.get('started')
    if started is None or (started and then and started != then):
      return 0.0
    if started and then:
      return math.inf
  limit = _RESTARTED_S if holder.get('host') == platform.node() else _STALE_S
  return max(0.0, limit - age)


def _name(holder: dict[str, Any]) -> str:
  return f'process {holder["pid"]} on {holder["host"]}' if holder else 'an unknown process'


def _keep_alive(path: pathlib.Path, owner: dict[str, Any], stop: threading.Event) -> None:
  while not stop.wait(_TOUCH_S):
    holder = _read(path)
    if holder not in (owner, {}):
      logging.error('%s was taken over by %s: stop this process', path, _name(holder))
      return
    with contextlib.suppress(OSError):
      os.utime(path)


def _touched(path: pathlib.Path) -> float | None:
  """When a lock was touched, by the clock of the file system; None if it is gone."""
  try:
    return path.stat().st_mtime
  except FileNotFoundError:
    return None


def _read(path: pathlib.Path) -> dict[str, Any]:
  """The owner of a lock; empty where the file cannot be read or names none."""
  try:
    owner = files.read_json(path, _Owner) or {}
  except UserError:
    return {}
  return owner if owner.get('pid', 0) > 0 else {}


def _myself() -> dict[str, Any]:
  pid = os.getpid()
  return {
    'host': platform.node(),
    'pid': pid,
    'since': time.strftime('%Y-%m-%d %H:%M:%S %z'),
    'machine': _machine(),
    'started': _started(pid),
    'token': uuid.uuid4().hex,
  }


def _machine() -> str:
  """Where process numbers mean the same as here: a machine since it started, or a container."""
  try:
    boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    return f'{boot} {os.readlink("/proc/self/ns/pid")}'
  except OSError:  # not Linux
    return platform.node()


def _started(pid: Any) -> str | None:
  """When a process of this machine started; '' where that is not known, None if it is gone."""
  if not isinstance(pid, int) or pid <= 0:
    return None
  try:
    os.kill(pid, 0)
  except (ProcessLookupError, OverflowError):
    return None
  except PermissionError:
    pass  # somebody else's
  try:
    fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
  except OSError:  # not Linux, or not for us to see
    return ''
  return None if fields[0] in 'ZX' else fields[19]  # Z: its parent has not yet noticed its end
