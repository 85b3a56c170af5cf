"""The scenes of a configuration: composed once and kept on disk, or a person's own images."""

import hashlib
import os
import pathlib
import sys
import tempfile
import zipfile

import numpy as np
import tqdm
from absl import logging

from air_jax.data import batches, objects
from air_jax.data import composition as scenes_lib
from air_jax.data import glyphs as glyphs_lib
from air_jax.data import image_folder as own_images
from air_jax.runtime import cache_dir
from air_jax.types import LabelledScenes


def load(config, split):
  """Loads the scenes of one split: from the cache, or composed and put there.

  Args:
    config: `air_jax.config.DataConfig`.
    split: 'train' or 'test'; the two are made of different glyphs, or different files.

  Returns:
    `LabelledScenes` of NumPy arrays.

  Raises:
    UserError: the glyphs or files cannot be had, or do not fit on the canvas.
  """
  if config.source == 'folder':
    return own_images.load(config, split)
  glyphs = load_glyphs(config, split)
  size = config.train_scenes if split == 'train' else config.test_scenes
  path = cache_folder(config) / f'scenes-{fingerprint(config, glyphs, split, size)}.npz'
  try:
    with path.open('rb') as file, np.load(file) as kept:
      return LabelledScenes(**kept)
  except FileNotFoundError:
    pass
  except (OSError, ValueError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
    logging.warning('composing scenes anew: %s cannot be read (%s)', path, error)
  scenes = _compose(config, glyphs, split, size)
  try:
    _write(path, scenes)
  except OSError as error:
    logging.warning('composed scenes are not kept: cannot write %s (%s)', path, error)
  return scenes


def fingerprint(config, glyphs, *more):
  """A name for scenes, by everything that determines them.

  Args:
    config: `DataConfig`.
    glyphs: `Glyphs` they are made of, or None.
    more: what else decides them: split and size.

  Returns:
    24 hexadecimal digits.
  """
  what = scenes_lib.VERSION, *more, config.seed, scenes_lib.recipe(config)
  digest = hashlib.sha256(repr(what).encode())
  for array in glyphs or ():
    digest.update(array.tobytes())
  return digest.hexdigest()[:24]


def load_glyphs(config, split):
  """The glyphs that scenes of a split are made of, `Glyphs`; None for shapes, which are drawn."""
  if config.source in objects.SHAPES:
    return None
  folder = None
  if config.source != 'digits':
    given = {'mnist': config.mnist_dir, 'omniglot': config.omniglot_dir}[config.source]
    folder = pathlib.Path(os.path.expanduser(given)) if given else _fetch(config)
  return glyphs_lib.load(config.source, split, folder)


def feed(config, batch_size, share=slice(None)):
  """What training is fed with, as the configuration asks.

  Args:
    config: `air_jax.config.DataConfig`.
    batch_size: B.
    share: slice of [B] that this process needs, where others see to the rest.

  Returns:
    `feeds.Feed`.

  Raises:
    UserError: as `load`.
  """
  if config.online:
    return batches.online(config, load_glyphs(config, 'train'), batch_size)
  if _streams(config):
    from air_jax.data import streams, tfds_builders

    builder = tfds_builders.for_config(config)
    tfds_builders.prepare(builder)
    return streams.stream(builder, batch_size, config.workers, share)
  block = 1 if config.source == 'folder' else batches.BLOCK  # a folder's neighbours may be alike
  return batches.resident(load(config, 'train'), batch_size, block, share)


def _streams(config):
  pixels = config.train_scenes * config.canvas_size**2 * (3 if config.colour else 1)
  fits = config.source == 'folder' or pixels <= config.resident_gb * 1e9
  return config.reading == 'stream' or (config.reading == 'auto' and not fits)


def cache_folder(config):
  """Where composed scenes and built data sets are kept."""
  if config.cache_dir:
    return pathlib.Path(os.path.expanduser(config.cache_dir))
  return cache_dir.home()


def _fetch(config):
  from air_jax.data import downloads

  return downloads.fetch(config.source, cache_folder(config) / 'downloads')


def _compose(config, glyphs, split, size):
  parts = []
  with tqdm.tqdm(
    total=size, unit='scene', desc=f'composing, {split}', disable=not sys.stderr.isatty()
  ) as bar:
    for part in scenes_lib.compose(config, glyphs, split, 0, size):
      parts.append(part)
      bar.update(len(part.images))
  return LabelledScenes(*map(np.concatenate, zip(*parts, strict=True)))


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
