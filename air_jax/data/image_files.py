"""Picture files of a folder: which there are, their names, and the values that each holds.

A picture is named by its file relative to the folder. Each page of a TIFF file of several is a
picture of its own, named by its number from 1: 'stack.tif#1', 'stack.tif#2'. Label images, such as
'a_mask.png' beside 'a.png', are no pictures: see `label_images`.
"""

import functools
import os
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Shaped

from air_jax.data import label_images, pictures
from air_jax.runtime import memory

# In any case; the content decides how a file is decoded.
SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff', '.bmp', '.webp', '.gif')
_TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # how files begin; '+' is BigTIFF
_PIXEL = 12  # bytes that decoding and scaling may hold of a pixel
_SHOWN = 5  # names in a message


class ImageFile(NamedTuple):
  """A picture: a file, or a page of it."""

  name: str  # relative to the folder
  path: pathlib.Path
  page: int = 0  # index in the file


def find(folder: pathlib.Path) -> tuple[list[ImageFile], list[str]]:
  """Finds the pictures in a folder, at any depth.

  Returns:
    (pictures sorted by name and page, sorted names of the files that are none by their suffix).

  Raises:
    UserError: there are TIFF files, and tifffile is not installed.
  """
  # A dangling link counts as a picture: it is reported as unreadable rather than skipped silently.
  names = sorted(
    path.relative_to(folder).as_posix() for path in folder.rglob('*') if not os.path.isdir(path)
  )
  chosen = [name for name in names if name.lower().endswith(SUFFIXES)]
  return of_names(folder, chosen), sorted({*names} - {*chosen})


def of_names(folder: pathlib.Path, names: Iterable[str]) -> list[ImageFile]:
  """The pictures of files named relative to a folder; label images are set aside, which is logged.

  Raises:
    UserError: there are TIFF files, and tifffile is not installed.
  """
  names = list(names)
  labels = label_images.among(folder, names)
  if labels:
    images = 'label image' if len(labels) == 1 else 'label images'
    _log_once(logging.INFO, f'set aside {len(labels)} {images}: {_some(labels)}, in {folder}')
  aside = set(labels)
  found = []
  for name in names:
    if name in aside:
      continue
    pages = _pages(folder / name) if _is_tiff(folder / name) else [0]
    several = len(pages) > 1
    found += [
      ImageFile(f'{name}#{number}' if several else name, folder / name, page)
      for number, page in enumerate(pages, 1)
    ]
  return found


def log_left_out(folder: pathlib.Path, names: list[str]) -> None:
  """Warns of files that are no pictures by their suffix, in one line."""
  if names:
    files = 'file that is no picture' if len(names) == 1 else 'files that are no pictures'
    _log_once(
      logging.WARNING,
      f'left out {len(names)} {files} by the suffix: {_some(names)}, in {folder}',
    )


def read(file: ImageFile) -> Shaped[np.ndarray, 'H W C']:
  """The upright values of a picture as its file has them, over black where it is transparent.

  Returns:
    uint8, uint16, or float32 for whole numbers of 32 bits and floats. C is 1, or 3 (red, green,
    blue); a TIFF file may have another number of channels.

  Raises:
    UserError: it needs more memory than there is.
    Exception: of nearly any type, for a damaged file.
  """
  if _is_tiff(file.path):
    from air_jax.data import tiff_pages

    return tiff_pages.read(file.path, file.page)
  with pictures.any_size(), pictures.open_header(file.path) as picture:
    need = _PIXEL * pictures.decoded_pixels(picture)
    memory.check('it', need, memory.of_machine() // 2, 'half of it may be used')
    return pictures.values(picture)


def _some(names: list[str]) -> str:
  rest = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
  return ', '.join(names[:_SHOWN]) + rest


@functools.cache
def _log_once(level: int, message: str) -> None:  # the splits of a folder are found one by one
  logging.log(level, '%s', message)


def _is_tiff(path: pathlib.Path) -> bool:
  try:
    with path.open('rb') as file:
      return file.read(4) in _TIFF
  except OSError:  # reading says what is wrong
    return False


def _pages(path: pathlib.Path) -> list[int]:
  from air_jax.data import tiff_pages

  try:
    return tiff_pages.pages(path)
  except Exception:  # damaged files raise nearly any type; reading says what is wrong
    return [0]
