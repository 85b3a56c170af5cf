"""Composed scenes on disk: each set is composed once, and found again by what determines it."""

import hashlib
import os
import pathlib
import sys
import tempfile

import numpy as np
import tqdm
from absl import logging

from air_jax.config.sections import DataConfig
from air_jax.data import composition, memory, sources
from air_jax.data.glyphs import Glyphs
from air_jax.types import LabelledScenes


def load(config: DataConfig, glyphs: Glyphs | None, split: str) -> LabelledScenes:
  """Reads the scenes of a split from the cache, or composes them and writes them there.

  Args:
    config: section `data`.
    glyphs: of the split; None for shapes.
    split: 'train' or 'test'.

  Raises:
    UserError: the objects do not fit on the canvas, or the scenes do not fit in memory.
  """
  name = fingerprint(config, glyphs, split)
  path = sources.cache_folder(config) / f'scenes-{name}.npz'
  try:
    return _read(path, name)
  except FileNotFoundError:
    pass
  except Exception as error:  # damaged files make NumPy and zipfile raise nearly anything
    logging.warning('composing scenes anew: %s cannot be read (%s)', path, error)
  scenes = _compose(config, glyphs, split)
  try:
    _write(path, name, scenes)
  except OSError as error:
    logging.warning('composed scenes are not kept: cannot write %s (%s)', path, error)
  return scenes


def fingerprint(config: DataConfig, glyphs: Glyphs | None, split: str) -> str:
  """A name for the scenes of a split by all that determines them: 24 hexadecimal digits."""
  what = composition.VERSION, split, size(config, split), config.seed, composition.recipe(config)
  digest = hashlib.sha256(repr(what).encode())
  for array in glyphs or ():
    digest.update(np.asarray(array).tobytes())
  return digest.hexdigest()[:24]


def size(config: DataConfig, split: str) -> int:
  """The number of composed scenes in a split."""
  return config.train_scenes if split == 'train' else config.test_scenes


def _compose(config: DataConfig, glyphs: Glyphs | None, split: str) -> LabelledScenes:
  parts, total = [], size(config, split)
  memory.check_set(config, split, total)
  with tqdm.tqdm(
    total=total, unit='scene', desc=f'composing, {split}', disable=not sys.stderr.isatty()
  ) as bar:
    for part in composition.compose(config, glyphs, split, 0, total):
      if split == 'train':  # only evaluation looks at them, and they are as large as the images
        part = part._replace(segments=part.segments[:, :0, :0])
      parts.append(part)
      bar.update(len(part.images))
  return LabelledScenes(*map(np.concatenate, zip(*parts, strict=True)))


def _read(path: pathlib.Path, name: str) -> LabelledScenes:
  """Reads what `_write` wrote; raises many types where the file holds anything else."""
  with path.open('rb') as file, np.load(file) as arrays:
    known = dict(arrays)
  digest = known.pop('digest', None)
  scenes = LabelledScenes(**known)
  if digest is None or digest.tolist() != _digest(name, scenes):
    raise ValueError('its contents do not match its digest')
  return scenes


def _write(path: pathlib.Path, name: str, scenes: LabelledScenes) -> None:
  """Writes all or nothing: no reader meets half a file."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.NamedTemporaryFile(dir=path.parent, suffix='.tmp', delete=False) as file:
    try:
      np.savez(file, digest=_digest(name, scenes), **scenes._asdict())
      os.replace(file.name, path)
    except BaseException:
      os.unlink(file.name)
      raise


def _digest(name: str, scenes: LabelledScenes) -> str:
  """SHA-256 of the fingerprint of some scenes and of all their arrays, in hexadecimal."""
  digest = hashlib.sha256(name.encode())
  for field, array in scenes._asdict().items():
    digest.update(f'{field} {array.dtype} {array.shape}'.encode())
    digest.update(np.ascontiguousarray(array).data)
  return digest.hexdigest()
