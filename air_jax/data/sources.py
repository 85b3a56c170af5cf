"""Where images and glyphs come from: the table of `data.source`.

To add a data set of glyphs, write a module with a `GlyphSource` (see digits.py) and add a line to
`GLYPHS`. Code outside this package needs no line here: `data.source='my_module:my_function'` names
a function (split) -> `Glyphs` to compose scenes of, or -> `LabelledScenes` that are complete.
"""

import os
import pathlib

import numpy as np

from air_jax import import_path
from air_jax.config.constraints import TABLES
from air_jax.config.sections import DataConfig
from air_jax.data import (
  digits,
  image_folder,
  mnist,
  objects,
  omniglot,
  pen_digits,
  table_scenes,
  tetrominoes,
)
from air_jax.data.crops import Pieces
from air_jax.data.glyphs import SIZE, Glyphs, GlyphSource
from air_jax.errors import UserError
from air_jax.runtime import cache_dir, extras
from air_jax.types import LabelledScenes

GLYPHS: dict[str, GlyphSource] = {
  'digits': digits.SOURCE,
  'pen_digits': pen_digits.SOURCE,
  'mnist': mnist.SOURCE,
  'omniglot': omniglot.SOURCE,
  'tetrominoes': tetrominoes.SOURCE,
}
COMPOSED = (*GLYPHS, *objects.SHAPES, *TABLES)  # sources of objects rather than of scenes
NAMES = (*COMPOSED, 'folder', 'arrays')


def read(config: DataConfig, split: str) -> Glyphs | LabelledScenes | Pieces | None:
  """Reads what a source provides for a split, 'train' or 'test'.

  Returns:
    Glyphs to compose scenes of; None for shapes and solids, which are drawn; complete scenes; or
    images that scenes are cut from.

  Raises:
    UserError: there is no such source, or its files cannot be had or read.
  """
  name = config.source
  if name in objects.SHAPES or name in TABLES:
    return None
  if name == 'folder':
    return (image_folder.load_crops if config.object_pixels else image_folder.load)(config, split)
  if name == 'arrays':
    raise UserError(
      "data.source='arrays' means arrays in memory, which are not kept with a run; give them again "
      'as data=loading.from_arrays(...)'
    )
  if name in GLYPHS:
    return GLYPHS[name].read(_folder(config), split)
  if ':' in name:
    return _check(import_path.load(name, 'data.source')(split), config)
  raise UserError(
    f'data.source={name!r} is not allowed; it must be one of {", ".join(map(repr, NAMES))} or '
    "'module:function'"
  )


def read_glyphs(config: DataConfig, split: str) -> Glyphs | None:
  """As `read`, of a source whose scenes are composed."""
  found = read(config, split)
  if isinstance(found, (LabelledScenes, Pieces)):
    raise UserError(f'data.source={config.source!r} provides complete scenes, not glyphs')
  return found


def about(config: DataConfig) -> str:
  """What images show, as the end of a sentence such as "It was trained on ..."."""
  name = config.source
  if name == 'folder':
    return 'pictures of a folder'
  shapes = {**objects.SHAPES, **table_scenes.SOURCES}
  if name not in (*GLYPHS, *shapes):
    return 'images of its own source'
  counts = sorted(config.drawn_counts)
  number = f'{counts[0]} to {counts[-1]}' if counts[0] < counts[-1] else f'{counts[0]}'
  if config.counts and len(counts) < counts[-1] - counts[0] + 1:
    number = ', '.join(map(str, counts))
  if name in GLYPHS:
    what = GLYPHS[name].about.partition(';')[0]  # the rest is about the test split
  else:
    what = ', '.join(shapes[name])
  low, high = config.min_scale, config.max_scale
  size = f'{low:g}' if low == high else f'{low:g} to {high:g}'
  scale = '' if low == high == 1 else f', at {size} times their size'
  return f'scenes of {number} objects ({what}{scale})'


def cache_folder(config: DataConfig) -> pathlib.Path:
  """The folder of downloads, composed scenes and built data sets."""
  if config.cache_dir:
    return pathlib.Path(os.path.expanduser(config.cache_dir))
  return cache_dir.cache_dir()


def _folder(config: DataConfig) -> pathlib.Path:
  """The folder of a glyph source's files, which are downloaded if none is given."""
  source = GLYPHS[config.source]
  given = getattr(config, source.folder_key) if source.folder_key else ''
  if given or not source.files:
    return pathlib.Path(os.path.expanduser(given))
  with extras.needed('data', f'downloading {config.source}'):
    from air_jax.data import downloads  # imports TFDS, which takes a second

  return downloads.fetch(config.source, source, cache_folder(config) / 'downloads')


def _check(found: object, config: DataConfig) -> Glyphs | LabelledScenes:
  """Refuses what a function of `data.source` must not return."""
  size = config.canvas_size
  shape: tuple[int, ...]
  if isinstance(found, LabelledScenes):
    shape, allowed = (
      (size, size, 3 if config.colour else 1),
      'as data.canvas_size and data.colour say',
    )
  elif isinstance(found, Glyphs):
    shape, allowed = (SIZE, SIZE), 'the size of a glyph'
  else:
    raise UserError(
      f'data.source={config.source!r} returned {type(found).__name__}; it must return Glyphs or '
      'LabelledScenes'
    )
  images = np.asarray(found.images)
  if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
    raise UserError(
      f'data.source={config.source!r} returned images of shape {list(images.shape)} and type '
      f'{images.dtype}; they must have shape {["B", *shape]}, {allowed}, and type uint8'
    )
  short = [name for name, x in found._asdict().items() if np.shape(x)[:1] != images.shape[:1]]
  if short:
    raise UserError(
      f'data.source={config.source!r} returned {len(images)} images, but {short[0]} of another '
      'length; all fields must have the same'
    )
  return found
