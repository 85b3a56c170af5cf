"""Image files: finding and decoding them, fitting them to the canvas, and mapping boxes back.

What a file holds may be anything: only decoders that run in this process are used, and the size is
known before a pixel is decoded.
"""

import math
import os
import pathlib
import threading
import warnings
from collections.abc import Iterator
from typing import IO

import numpy as np
from jaxtyping import ArrayLike, Float
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

SUFFIXES = ('.png', '.jpg', '.jpeg')  # in any case; the content decides how a file is decoded
# Pillow hands others, such as EPS, to programs of their own. JPEG includes the MPO of some cameras.
FORMATS = ('PNG', 'JPEG', 'TIFF', 'BMP', 'WEBP', 'GIF')
_STRIP = 1 << 20  # pixels that are converted at once
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # tags of TIFF
_opening = threading.Lock()  # filters of warnings are those of the whole process


def find(folder: pathlib.Path) -> list[str]:
  """Finds the images in a folder, at any depth; returns sorted names relative to it."""
  # A dangling link counts as an image: it is reported as unreadable rather than skipped silently.
  return sorted(
    path.relative_to(folder).as_posix()
    for path in folder.rglob('*')
    if path.suffix.lower() in SUFFIXES and not os.path.isdir(path)
  )


def formats() -> str:
  """The formats that are read, for messages."""
  return f'{", ".join(FORMATS[:-1])} and {FORMATS[-1]}'


def open_header(path: str | os.PathLike | IO[bytes]) -> Image.Image:
  """Opens an image file and reads its header; the pixels are decoded when they are needed.

  Raises:
    Exception: of nearly any type, for a damaged file, one of another format than `FORMATS`, or one
      of more pixels than Pillow warns about.
  """
  with _opening, warnings.catch_warnings():
    warnings.simplefilter('error', Image.DecompressionBombWarning)
    try:
      return Image.open(path, formats=FORMATS)
    except UnidentifiedImageError as error:
      raise UnidentifiedImageError(f'only {formats()} are read') from error


def decoded_pixels(file: Image.Image) -> int:
  """The number of pixels that decoding an opened file takes memory for."""
  tags = getattr(file, 'tag_v2', {})  # a tile may be larger than the picture that it belongs to
  tile = int(tags.get(_TILE_WIDTH, 0)) * int(tags.get(_TILE_LENGTH, 0))
  return max(file.width * file.height, tile)


def decode(path: str | os.PathLike | IO[bytes], mode: str) -> Image.Image:
  """Reads the upright image of a file in mode 'RGB' or 'L', over black where transparent.

  Raises:
    Exception: as `open_header`, and of nearly any type for a damaged file.
  """
  with open_header(path) as file:
    return flatten(file, mode)


def flatten(picture: Image.Image, mode: str) -> Image.Image:
  """Brings an image upright and to mode 'RGB' or 'L', over black where it is transparent."""
  picture = ImageOps.exif_transpose(picture)
  if picture.mode.startswith(('I', 'F')):
    picture = _to_bytes(picture)
  if picture.has_transparency_data:
    black = Image.new('RGBA', picture.size, 'black')
    picture = Image.alpha_composite(black, picture.convert('RGBA'))
  return picture.convert(mode)


def reduce(file: Image.Image, most_pixels: int) -> Image.Image:
  """Averages an opened file over squares, so that what follows takes little memory.

  Args:
    file: as `open_header` gives it, not decoded yet.
    most_pixels: the result has fewer than four times as many; smaller pictures stay as they are.
  """

  def excess() -> int:
    return math.isqrt(file.width * file.height // most_pixels)

  if (factor := excess()) < 2:
    return file
  # JPEG is decoded at a smaller size; other formats ignore this.
  file.draft(None, (max(1, file.width // factor), max(1, file.height // factor)))
  file.load()
  orientation = file.getexif().get(ExifTags.Base.Orientation)
  picture = _to_bytes(file) if file.mode.startswith(('I', 'F')) else file
  factor = max(1, excess())
  rows = factor * max(1, _STRIP // (factor * picture.width))
  strips = []
  for top in range(0, picture.height, rows):
    strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
    if strip.mode in ('1', 'P', 'PA'):  # numbers of colours have no average
      strip = strip.convert('L' if strip.mode == '1' else None)
    strips.append(strip.reduce(factor))
  reduced = Image.new(strips[0].mode, (strips[0].width, sum(strip.height for strip in strips)))
  for i, strip in enumerate(strips):
    reduced.paste(strip, (0, i * (rows // factor)))
  reduced.info = strips[0].info  # a colour that is transparent
  if orientation is not None:
    reduced.getexif()[ExifTags.Base.Orientation] = orientation
  return reduced


def _to_bytes(picture: Image.Image) -> Image.Image:
  """Scales 16 or 32 bit greys to 8 bits; Pillow would clip them at 255."""
  result = Image.new('L', picture.size)
  if picture.mode.startswith('I;16'):
    for top, values in _strips(picture):
      bytes_ = (values.astype(np.uint32) + 128) // 257  # 65535 / 255 = 257
      result.paste(Image.fromarray(bytes_.astype(np.uint8)), (0, top))
    return result
  peak = max(_finite(values).max() for _, values in _strips(picture))
  for top, values in _strips(picture):
    scaled = _finite(values) * (255 / peak if peak > 255 else 1)
    bytes_ = np.clip(np.round(scaled), 0, 255).astype(np.uint8)
    result.paste(Image.fromarray(bytes_), (0, top))
  return result


def _finite(values: np.ndarray) -> np.ndarray:
  return np.nan_to_num(values.astype(np.float64))


def _strips(picture: Image.Image) -> Iterator[tuple[int, np.ndarray]]:
  """The pixels by a few rows at a time: copies of all would take many times their memory."""
  rows = max(1, _STRIP // picture.width)
  for top in range(0, picture.height, rows):
    box = 0, top, picture.width, min(top + rows, picture.height)
    yield top, np.asarray(picture.crop(box))


def fit(picture: Image.Image, size: int, how: str) -> Image.Image:
  """Fits an image to a square canvas.

  Args:
    picture: the image.
    size: side of the canvas in pixels.
    how: 'crop' cuts off what is outside the middle square, 'pad' adds black, 'squash' distorts.
  """
  if how == 'crop':
    return ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)
  if how == 'squash':
    return picture.resize((size, size), Image.Resampling.BILINEAR)
  sides, corner = _padded(picture.size, size)
  canvas = Image.new(picture.mode, (size, size))
  canvas.paste(picture.resize(sides, Image.Resampling.BILINEAR), corner)
  return canvas


def unfit(
  boxes: Float[ArrayLike, '*M 4'], picture_size: tuple[int, int], size: int, how: str
) -> Float[np.ndarray, '*M 4']:
  """Maps boxes on the canvas back to the image that `fit` put there.

  Args:
    boxes: (top, left, height, width) in pixels of the canvas.
    picture_size: (width, height) of the image.
    size: side of the canvas.
    how: as given to `fit`.

  Returns:
    float32 boxes in pixels of the image, clipped to it.
  """
  wide = np.array(picture_size, np.float64)
  if how == 'crop':
    ratio = np.full(2, wide.min() / size)
    corner = (wide - wide.min()) / 2
  elif how == 'squash':
    ratio, corner = wide / size, np.zeros(2)
  else:
    sides, margin = _padded(picture_size, size)
    ratio = wide / sides
    corner = -ratio * np.array(margin)
  low, high, end = corner[::-1], ratio[::-1], wide[::-1]  # the order of boxes: down, then right
  boxes = np.asarray(boxes, np.float64)
  first = np.clip(low + high * boxes[..., :2], 0, end)
  last = np.clip(low + high * (boxes[..., :2] + boxes[..., 2:]), 0, end)
  return np.concatenate([first, last - first], -1).astype(np.float32)


def _padded(picture_size: tuple[int, int], size: int) -> tuple[tuple[int, int], tuple[int, int]]:
  """(width, height) of an image resized to fit, and its (left, top) corner on the canvas."""
  # ImageOps.pad would round the shorter side of a very long image to 0, and fail.
  width, height = (max(1, round(side * size / max(picture_size))) for side in picture_size)
  return (width, height), ((size - width) // 2, (size - height) // 2)
