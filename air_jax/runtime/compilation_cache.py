"""Compiled programs are kept on disk, so that a second start need not compile them again."""

import hashlib
import os
import pathlib
import platform
import zlib

import jax
from absl import logging

from air_jax.runtime import cache_dir

_ZSTANDARD = bytes.fromhex('28b52ffd')  # how its files begin
_WORTHWHILE = 0.2  # seconds of compilation from which a program is kept


def keep():
  """Turns on JAX's persistent compilation cache, in a folder of this machine's kind of processor.

  What is compiled for one processor may crash on another, and JAX does not tell the two apart
  where they share a home. Whoever has named a folder (JAX_COMPILATION_CACHE_DIR) or turned the
  cache off (JAX_ENABLE_COMPILATION_CACHE=false) is obeyed. Where the folder cannot be written to,
  that is logged, and nothing is kept.
  """
  if not jax.config.jax_enable_compilation_cache:
    return
  if own := jax.config.jax_compilation_cache_dir:
    _drop_broken(pathlib.Path(own))
    return
  folder = cache_dir.home() / 'compiled' / _processor()
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
  jax.config.update('jax_persistent_cache_min_compile_time_secs', _WORTHWHILE)


def _drop_broken(folder):
  """Removes what a killed program left half written: JAX would complain, and never replace it."""
  checked = folder / '.checked'
  try:
    since = checked.stat().st_mtime if checked.exists() else 0.0
    checked.touch()
    for path in folder.glob('*-cache'):
      if path.stat().st_mtime >= since and not _whole(path.read_bytes()):
        path.unlink()
  except OSError:  # another program is at it, or the folder is not ours to change
    return


def _whole(content):
  """Whether what JAX compressed by zlib, as it does unless zstandard is installed, is all there."""
  stream = zlib.decompressobj()
  try:
    stream.decompress(content)
  except zlib.error:
    return content.startswith(_ZSTANDARD)
  return stream.eof


def _processor():
  """A name for the instructions that the processor knows."""
  kind = platform.machine(), platform.processor()
  path = pathlib.Path('/proc/cpuinfo')  # Linux; elsewhere there is but the name
  if path.exists():
    about = ('model name', 'flags', 'CPU part', 'Features')  # of x86, and of ARM
    kind += tuple(line for line in path.read_text().splitlines() if line.startswith(about))
  return hashlib.sha256('\n'.join(sorted(set(kind))).encode()).hexdigest()[:12]
