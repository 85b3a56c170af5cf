"""Compiled programs on disk, so that a second start need not compile them again."""

import hashlib
import os
import pathlib
import platform
import zlib

import jax
from absl import logging

from air_jax.runtime import cache_dir

_ZSTANDARD = bytes.fromhex('28b52ffd')  # the first bytes of its files
_SHORTEST_S = 0.2  # of compilation; programs that take less are not kept


def enable() -> None:
  """Turns on JAX's persistent compilation cache, in a folder for this kind of processor.

  A program compiled for one processor may crash on another, and JAX does not tell the two apart
  where they share a home folder. JAX_COMPILATION_CACHE_DIR names another folder, and
  JAX_ENABLE_COMPILATION_CACHE=false turns the cache off. Where the folder cannot be written to,
  that is logged, and nothing is kept.
  """
  if not jax.config.jax_enable_compilation_cache:
    return
  if own := jax.config.jax_compilation_cache_dir:
    _drop_broken(pathlib.Path(own))
    return
  folder = cache_dir.cache_dir() / 'compiled' / _processor()
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    logging.warning('compiled programs are not kept: %s: %s', folder, error.strerror)
    return
  if not os.access(folder, os.W_OK):
    logging.warning('compiled programs are not kept: %s is not writable', folder)
    return
  _drop_broken(folder)
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', _SHORTEST_S)


def _drop_broken(folder: pathlib.Path) -> None:
  """Removes files that a killed program left half written: JAX warns of them, and keeps them."""
  checked = folder / '.checked'
  try:
    since = checked.stat().st_mtime if checked.exists() else 0.0
    checked.touch()
    for path in folder.glob('*-cache'):
      if path.stat().st_mtime >= since and not _whole(path.read_bytes()):
        path.unlink()
  except OSError:  # another program does the same, or the folder may not be changed
    return


def _whole(content: bytes) -> bool:
  """Whether a file is complete; JAX compresses by zlib unless zstandard is installed."""
  stream = zlib.decompressobj()
  try:
    stream.decompress(content)
  except zlib.error:
    return content.startswith(_ZSTANDARD)
  return stream.eof


def _processor() -> str:
  """A name for the instruction set of the processor."""
  kind: tuple[str, ...] = platform.machine(), platform.processor()
  path = pathlib.Path('/proc/cpuinfo')  # on Linux; elsewhere only the name is known
  if path.exists():
    about = ('model name', 'flags', 'CPU part', 'Features')  # of x86, and of ARM
    kind += tuple(line for line in path.read_text().splitlines() if line.startswith(about))
  return hashlib.sha256('\n'.join(sorted(set(kind))).encode()).hexdigest()[:12]
