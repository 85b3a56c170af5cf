"""Where the things lie that can be made again."""

import os
import pathlib


def home():
  """The project's folder among the user's caches."""
  base = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(base) / 'air_jax'
