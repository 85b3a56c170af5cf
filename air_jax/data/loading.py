"""Training and test scenes of a configuration, composed once and kept on disk."""

import hashlib
import os
import pathlib
import tempfile
import zipfile

import numpy as np
from absl import logging

from air_jax.data import glyphs as glyphs_lib
from air_jax.data import scenes as scenes_lib
from air_jax.types import Scenes

_SPLITS = ('train', 'test')  # the position of a split seeds its scenes
_VERSION = 1  # of the composition: raise it when the same arguments give other scenes


def load(config, split):
  """Loads the scenes of one split: from the cache, or composed and put there.

  Args:
    config: `air_jax.config.DataConfig`.
    split: 'train' or 'test'; the two are made of different digits.

  Returns:
    `Scenes` of NumPy arrays.

  Raises:
    UserError: the digits cannot be had, or do not fit on the canvas.
  """
  glyphs = glyphs_lib.load(config.source, split, config.mnist_dir)
  recipe = {
    'layout': config.layout,
    'canvas_size': config.canvas_size,
    'min_objects': config.min_objects,
    'max_objects': config.max_objects,
    'seed': (config.seed, _SPLITS.index(split)),
    'size': config.train_scenes if split == 'train' else config.test_scenes,
  }
  digest = hashlib.sha256(repr((_VERSION, sorted(recipe.items()))).encode())
  digest.update(glyphs.images.tobytes() + glyphs.labels.tobytes())
  path = _cache_folder(config.cache_dir) / f'scenes-{digest.hexdigest()[:24]}.npz'
  try:
    with path.open('rb') as file, np.load(file) as kept:
      return Scenes(**kept)
  except FileNotFoundError:
    pass
  except (OSError, ValueError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
    logging.warning('composing scenes anew: %s cannot be read (%s)', path, error)
  scenes = scenes_lib.compose(glyphs, **recipe)
  try:
    _write(path, scenes)
  except OSError as error:
    logging.warning('composed scenes are not kept: cannot write %s (%s)', path, error)
  return scenes


def _cache_folder(given):
  if given:
    return pathlib.Path(os.path.expanduser(given))
  base = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(base) / 'air_jax'


def _write(path, scenes):
  """Writes all or nothing: a reader never meets half a file."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.NamedTemporaryFile(dir=path.parent, suffix='.tmp', delete=False) as file:
    try:
      np.savez(file, **scenes._asdict())
      os.replace(file.name, path)
    except BaseException:
      os.unlink(file.name)
      raise
