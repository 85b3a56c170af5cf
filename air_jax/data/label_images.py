"""Label images in files: an image of whole numbers that says to which object each pixel belongs."""

import functools
import os
import pathlib
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import scipy  # imports its parts when they are first used
from absl import logging
from jaxtyping import Int32
from PIL import Image

from air_jax.errors import UserError
from air_jax.runtime import extras

SUFFIXES = ('.png', '.tif', '.tiff', '.bmp', '.gif')  # in any case
_LOSSY = ('.jpg', '.jpeg', '.webp')
_ANY = SUFFIXES + _LOSSY
_ENDINGS = ('_mask', '_masks', '_label', '_labels')  # of stems
_FOLDERS = ('masks', 'labels')
_BINARY = (255, 65535)  # what marks objects where they have no numbers


def find(paths: Sequence[pathlib.Path]) -> dict[pathlib.Path, pathlib.Path]:
  """Finds the label images of pictures: see `picture_truth` for where they are.

  Args:
    paths: of the pictures.

  Returns:
    the label image of each picture that has one.

  Raises:
    UserError: a picture has several label images, or one label image may belong to pictures of
      several folders.
  """
  listed: dict[str, dict[str, list[pathlib.Path]]] = {}

  def files(folder: str, stem: str) -> list[pathlib.Path]:
    if folder not in listed:
      listed[folder] = {}
      path = pathlib.Path(folder)
      for each in sorted(path.iterdir()) if path.is_dir() else ():
        if each.name.lower().endswith(_ANY):
          listed[folder].setdefault(each.stem, []).append(each)
    return listed[folder].get(stem, [])

  found: dict[pathlib.Path, pathlib.Path] = {}
  owners: dict[pathlib.Path, pathlib.Path] = {}
  for picture in paths:
    places = _places(str(picture.parent), picture.stem)
    candidates = [path for place in places for path in files(*place)]
    if len(candidates) > 1:
      raise UserError(
        f'{picture} has several label images, {candidates[0]} and {candidates[1]}; it may have one'
      )
    for path in candidates:
      found[picture] = path
      if (owner := owners.setdefault(path, picture)).parent != picture.parent:
        raise UserError(
          f'{path} may belong to {owner} or to {picture}; put it beside its picture, as '
          f'{picture.stem}_mask{path.suffix}'
        )
  return found


def among(folder: pathlib.Path, names: Sequence[str]) -> list[str]:
  """Which image files are label images of pictures in the same folder, at any depth.

  Label images whose pictures are elsewhere are not among them: somebody chose their folder.

  Args:
    folder: of the files.
    names: of image files, relative to the folder. Their pictures need not be named.
  """
  suspects: dict[tuple[str, str], list[str]] = {}
  for name in names:
    parent, stem = _place(name)
    marked = stem.endswith(_ENDINGS) or os.path.basename(parent) in _FOLDERS
    if marked and name.lower().endswith(_ANY):
      suspects.setdefault((parent, stem), []).append(name)
  found: set[str] = set()
  if suspects:
    for name in {*names, *_near(folder, {parent for parent, _ in suspects})}:
      for place in _places(*_place(name)):
        found.update(suspects.get(place, ()))
  return sorted(found)


def _near(folder: pathlib.Path, parents: set[str]) -> Iterator[str]:
  """Names of image files where there may be pictures of label images in some of its folders."""
  above = {os.path.dirname(each) for each in parents if os.path.basename(each) in _FOLDERS}
  beside = {
    os.path.join(each, entry.name)
    for each in above
    for entry in _entries(folder / each)
    if entry.is_dir()
  }
  for each in parents | above | beside:
    for entry in _entries(folder / each):
      if entry.name.lower().endswith(_ANY) and not entry.is_dir():
        yield os.path.join(each, entry.name)


def _entries(folder: pathlib.Path) -> list[os.DirEntry[str]]:
  try:
    with os.scandir(folder) as entries:
      return list(entries)
  except OSError:  # a file may be read in a folder that may not be listed
    return []


def _place(name: str) -> tuple[str, str]:
  """The folder and the stem of a file."""
  parent, file = os.path.split(name)
  return parent, pathlib.PurePath(file).stem


def _places(parent: str, stem: str) -> list[tuple[str, str]]:
  """Where label images of a picture may be: their folders and stems."""
  if os.path.basename(parent) in _FOLDERS:
    return []
  beside = [(parent, stem + ending) for ending in _ENDINGS]
  return beside + [(each, stem) for each in _folders_of_labels(parent)]


@functools.lru_cache(maxsize=1024)
def _folders_of_labels(parent: str) -> tuple[str, ...]:
  """The folders of nothing but label images that belong to a folder of pictures."""
  within = [os.path.join(parent, name) for name in _FOLDERS]
  beside = [os.path.join(parent, os.pardir, name) for name in _FOLDERS]
  return tuple(dict.fromkeys(os.path.normpath(each) for each in within + beside))


def read(
  path: pathlib.Path, picture: pathlib.Path, size: tuple[int, int]
) -> tuple[Int32[np.ndarray, 'H W'], int]:
  """Reads the label image of a picture.

  Args:
    path: of the label image; 8 to 64 bits, palettes as the numbers of their entries.
    picture: path of the picture, for messages.
    size: (height, width) of the picture.

  Returns:
    (labels, number of objects).

  Raises:
    UserError: the file cannot be read or has another size than the picture, its pixels are no
      whole numbers in 0..2147483647, or it marks separate objects by one number such as 255.
  """
  if path.suffix.lower() in _LOSSY:
    raise UserError(
      f'{path} is a JPEG or WebP file, which may change numbers; save it as PNG or TIFF'
    )
  try:
    values = _of_tiff(path, picture, size) if _is_tiff(path) else _of_pillow(path, picture, size)
  except UserError:
    raise
  except Exception as error:  # damaged files make decoders raise nearly any type
    raise UserError(f'{path} cannot be read ({str(error) or type(error).__name__})') from error
  labels = _whole(values, path)
  numbers = np.unique(labels)
  numbers = numbers[numbers > 0]
  if len(numbers) == 1:
    _check_parts(labels, int(numbers[0]), path)
  return labels, len(numbers)


def _is_tiff(path: pathlib.Path) -> bool:
  return path.suffix.lower() in ('.tif', '.tiff')


def _of_tiff(path: pathlib.Path, picture: pathlib.Path, size: tuple[int, int]) -> np.ndarray:
  with extras.needed('tiff', 'reading a TIFF label image'):
    import tifffile

  with tifffile.TiffFile(path) as file:
    series = file.series[0]
    shape = tuple(side for side in series.shape if side > 1)
    colours = series.axes.endswith('S') and len(shape) == 3
    if len(shape) > 2 and not colours:
      raise UserError(f'{path} has {"x".join(map(str, shape))} pixels; it must be one flat image')
    sides = dict(zip(series.axes, series.shape, strict=True))
    _check_size(path, (sides.get('Y', 0), sides.get('X', 0)), picture, size)
    try:
      values = series.asarray()
    except ValueError as error:
      if 'imagecodecs' not in str(error):
        raise
      return _of_pillow(path, picture, size)  # which has the decoders that tifffile asks for
  return values.reshape(*size, -1) if colours else values.reshape(size)


def _of_pillow(path: pathlib.Path, picture: pathlib.Path, size: tuple[int, int]) -> np.ndarray:
  with warnings.catch_warnings():
    # A file that is as large as its picture is no bomb.
    warnings.simplefilter('ignore', Image.DecompressionBombWarning)
    file = Image.open(path, formats=('PNG', 'TIFF', 'BMP', 'GIF'))
  with file:
    _check_size(path, (file.height, file.width), picture, size)
    return np.asarray(file)


def _check_size(
  path: pathlib.Path, own: tuple[int, int], picture: pathlib.Path, size: tuple[int, int]
) -> None:
  if own != size:
    raise UserError(
      f'{path} is {own[1]}x{own[0]} pixels (width x height) and its picture {picture} '
      f'{size[1]}x{size[0]}; they must be the same'
    )


def _whole(values: np.ndarray, path: pathlib.Path) -> Int32[np.ndarray, 'H W']:
  if values.ndim == 3:  # of colours, the last of two or four is the opacity
    values = values[..., : values.shape[-1] - 1 + values.shape[-1] % 2]
    if (values != values[..., :1]).any():
      raise UserError(f'{path} has colours; every object must have a number of its own')
    values = values[..., 0]
  if values.dtype.kind not in 'biuf' or not values.size:
    raise UserError(f'{path} holds no numbers')
  if not 0 <= values.min() <= values.max() < 2**31:
    raise UserError(f'{path} has values beyond 0..2147483647; 0 is the background')
  labels = values.astype(np.int32)
  if values.dtype.kind == 'f' and (labels != values).any():
    raise UserError(f'{path} has values that are no whole numbers')
  return labels


def _check_parts(labels: Int32[np.ndarray, 'H W'], number: int, path: pathlib.Path) -> None:
  """Tells where a file marks what is an object, and not which one."""
  parts = scipy.ndimage.label(labels, np.ones((3, 3)))[1]
  if parts == 1:
    return
  what = f'{path} has {parts} separate areas, all with the number {number}'
  if number in _BINARY:
    raise UserError(f'{what}; every object must have a number of its own')
  logging.warning('%s: they count as one object', what)
