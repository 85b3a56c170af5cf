"""The memory of this machine: how much there is, what it cannot hold, what is given back."""

import contextlib
import ctypes
import os
import pathlib

import jax

from air_jax.errors import UserError

# The limit of a container, in bytes or 'max': of version 2 and of version 1.
_LIMITS = '/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'
_M_MMAP_THRESHOLD = -3  # in malloc.h
_LARGE = 1 << 17  # bytes


def give_back() -> None:
  """Makes glibc return blocks that are no longer used to the system at once, if they are large.

  By default it begins to keep blocks of up to 32 MiB, those of a picture or of a batch, for each
  thread, and small ones that are used for long keep it from returning others.
  """
  with contextlib.suppress(AttributeError):  # another C library
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def of_machine() -> int:
  """Bytes of memory that this machine, or the container the process runs in, has."""
  have = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  for path in map(pathlib.Path, _LIMITS):
    try:
      have = min(have, int(path.read_text()))
    except (OSError, ValueError):  # there is no container, or no limit
      continue
  return have


def of_devices() -> int:
  """Bytes of memory of all devices; the CPU devices of a process share the machine's."""
  devices = jax.local_devices()
  if devices[0].platform == 'cpu':
    own = of_machine()
  else:
    own = sum(device.memory_stats()['bytes_limit'] for device in devices)
  return own * jax.process_count()


def check(what: str, need: int, have: int, advice: str) -> None:
  """Refuses what needs more memory than there is.

  Args:
    what: what needs it, as the beginning of a sentence.
    need: bytes.
    have: bytes.
    advice: what would need less, as the end of a sentence.

  Raises:
    UserError: `need` is more than `have`.
  """
  if need > have:
    raise UserError(
      f'{what} needs about {_gigabytes(need)} of memory, and there are {_gigabytes(have)}; {advice}'
    )


def _gigabytes(number: int) -> str:
  return f'{number / 1e9:,.1f} GB'
