"""Where things are kept that can be made again."""

import os
import pathlib


def cache_dir() -> pathlib.Path:
  """The project's folder in the user's cache folder."""
  base = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(base) / 'air_jax'
