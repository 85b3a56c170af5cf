"""Where things are kept that can be made again."""

import os
import pathlib

from air_jax.errors import UserError


def cache_dir() -> pathlib.Path:
  """The project's folder in the user's cache folder.

  Raises:
    UserError: the user has no home folder, and names no other.
  """
  try:
    base = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  except RuntimeError as error:  # no HOME, and no entry among the users of this machine
    raise UserError(
      'this user has no home folder; set HOME, or set XDG_CACHE_HOME to a folder for downloads, '
      'scenes and compiled programs'
    ) from error
  return pathlib.Path(base) / 'air_jax'
