"""Small stand-ins for MNIST, and scenes composed by the hundred."""

import dataclasses
import gzip

import numpy as np

from air_jax import config as configuration
from air_jax.data import glyphs, scenes
from air_jax.types import Scenes
from configs import tiny


def data_config(**changes):
  """The tiny configuration's `DataConfig`, changed."""
  return dataclasses.replace(configuration.parse(tiny.get_config()).data, **changes)


def compose(config, glyphs, stop, split='train', start=0):
  """Scenes start .. stop in one piece."""
  parts = list(scenes.compose(config, glyphs, split, start, stop))
  assert max(len(part.images) for part in parts) <= 256
  return Scenes(*map(np.concatenate, zip(*parts, strict=True)))


def plain_glyphs(ink):
  """Glyphs without a border, all of one shade each; the label is the index."""
  images = np.ones((len(ink), 28, 28), np.uint8) * np.asarray(ink, np.uint8)[:, None, None]
  return glyphs.Glyphs(images, np.arange(len(ink), dtype=np.int32))


def idx_bytes(array):
  """What an IDX file of bytes holds, by the text of its specification."""
  sizes = b''.join(n.to_bytes(4, 'big') for n in array.shape)
  return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_idx(folder):
  """Fills a folder with four small IDX files and returns {split: (images, labels)}."""
  rng = np.random.default_rng(0)
  arrays = {}
  for split, size in (('train', 5), ('test', 3)):
    images = np.pad(rng.integers(0, 256, (size, 20, 18), np.uint8), ((0, 0), (4, 4), (5, 5)))
    images[:, 4, 5] = np.arange(size)  # tells which it is
    labels = rng.integers(0, 10, size, np.uint8)
    arrays[split] = images, labels
    for name, array in zip(glyphs.IDX_FILES[split], arrays[split], strict=True):
      (folder / name).write_bytes(gzip.compress(idx_bytes(array)))
  return arrays
