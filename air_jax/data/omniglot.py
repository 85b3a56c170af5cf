"""Omniglot (Lake, Salakhutdinov & Tenenbaum, 2015): characters of many alphabets."""

import contextlib
import io
import pathlib
import zipfile

import numpy as np
from PIL import Image

from air_jax.data.glyphs import SIZE, File, Glyphs, GlyphSource
from air_jax.errors import UserError

_INK_SIZE = 20  # pixels, longer side of a character, as in MNIST
_PATTERN = 'images_background*.zip'
_HELD_OUT_EVERY = 5  # of the alphabets sorted by name, starting with the first


def read(folder: pathlib.Path, split: str) -> Glyphs:
  """Reads the characters of a split; the splits share no alphabet.

  A character is cropped to its strokes, resized to 20 pixels and put in the middle of 28.

  Args:
    folder: holds images_background.zip, or its parts.
    split: 'train' or 'test'.

  Returns:
    Glyphs; a label numbers the character within its split.

  Raises:
    UserError: there are no such files, they are damaged, or hold too few alphabets.
  """
  archives = sorted(folder.glob(_PATTERN))
  if not archives:
    raise UserError(
      f'data.omniglot_dir={str(folder)!r} holds no {_PATTERN}; give the folder of those files'
    )
  drawings: dict[tuple[str, ...], tuple[pathlib.Path, str]] = {}  # archives may overlap
  for path in archives:
    drawings |= _list(path)
  alphabets = sorted({alphabet for alphabet, *_ in drawings})
  held_out = alphabets[::_HELD_OUT_EVERY]
  if len(alphabets) < 2:
    raise UserError(f'{folder} holds {len(alphabets)} alphabet; two are needed to hold one out')
  chosen = [where for where in sorted(drawings) if (where[0] in held_out) == (split == 'test')]
  characters = sorted({where[:2] for where in chosen})
  numbers = {character: number for number, character in enumerate(characters)}
  images = np.zeros((len(chosen), SIZE, SIZE), np.uint8)
  with contextlib.ExitStack() as stack:
    opened = {path: stack.enter_context(zipfile.ZipFile(path)) for path in archives}
    for image, where in zip(images, chosen, strict=True):
      path, name = drawings[where]
      _fill(image, opened[path], name)
  return Glyphs(images, np.array([numbers[where[:2]] for where in chosen], np.int32))


def _list(path: pathlib.Path) -> dict[tuple[str, ...], tuple[pathlib.Path, str]]:
  """The drawings of an archive: (alphabet, character, file) -> (archive, name in it)."""
  try:
    with zipfile.ZipFile(path) as archive:
      names = [name for name in archive.namelist() if name.endswith('.png')]
  except Exception as error:  # zipfile raises many types for damaged files
    raise UserError(f'{path} cannot be read as a zip file ({error}); is it truncated?') from error
  return {tuple(name.split('/')[-3:]): (path, name) for name in names}


def _fill(image: np.ndarray, archive: zipfile.ZipFile, name: str) -> None:
  """Writes a character into a blank glyph; in the archive it is black strokes on white."""
  try:
    drawing = Image.open(io.BytesIO(archive.read(name)), formats=('PNG',))
    strokes = drawing.convert('L').point(lambda v: 255 - v)
    box = strokes.getbbox()
    if not box:
      raise OSError('it is blank')
  except Exception as error:  # zipfile and Pillow raise many types for damaged files
    raise UserError(f'{archive.filename}: {name} cannot be read ({error})') from error
  strokes = strokes.crop(box)
  factor = _INK_SIZE / max(strokes.size)
  width, height = (max(1, round(factor * side)) for side in strokes.size)
  small = np.asarray(strokes.resize((width, height), Image.Resampling.BOX), np.float32)
  if not small.max() >= 0.5:
    raise UserError(f'{archive.filename}: {name} cannot be read (its strokes are too faint)')
  # Thin strokes fade as they shrink: scale the darkest pixel back to full ink.
  small = np.round(small * (255 / small.max())).astype(np.uint8)
  top, left = (SIZE - height) // 2, (SIZE - width) // 2
  image[top : top + height, left : left + width] = small


SOURCE = GlyphSource(
  read=read,
  about='characters of Omniglot; every fifth alphabet is held out for test scenes',
  citation='B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum, Science 350(6266), 2015.',
  license='MIT',
  folder_key='omniglot_dir',
  files=(
    File(
      'https://github.com/brendenlake/omniglot/raw/master/python/images_background.zip',
      9464212,
      'ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640',
    ),
  ),
)
