"""Pictures as Pillow decodes them: their values, and their place on the canvas.

What a file holds may be anything: only decoders that run in this process are used, and the size is
known before a pixel is decoded.
"""

import contextlib
import math
import os
import threading
import warnings
from collections.abc import Iterator
from typing import IO

import numpy as np
from jaxtyping import ArrayLike, Float, Int32, Shaped, UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

# Pillow hands others, such as EPS, to programs of their own. JPEG includes the MPO of some cameras.
FORMATS = ('PNG', 'JPEG', 'TIFF', 'BMP', 'WEBP', 'GIF')
_STRIP = 1 << 20  # pixels that are converted at once
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # tags of TIFF
_opening = threading.RLock()  # filters of warnings and Pillow's bound are those of the process


def formats() -> str:
  """The formats that are read, for messages."""
  return f'{", ".join(FORMATS[:-1])} and {FORMATS[-1]}'


@contextlib.contextmanager
def any_size() -> Iterator[None]:
  """Lifts Pillow's bound on pixels, for files whose size is checked before they are decoded."""
  with _opening:
    bound, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
      yield
    finally:
      Image.MAX_IMAGE_PIXELS = bound


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


def values(picture: Image.Image) -> Shaped[np.ndarray, 'H W C']:
  """The upright pixels of a picture in its own values, over black where it is transparent.

  Returns:
    uint8; of greys that are deeper uint16, or float32 for whole numbers of 32 bits and floats.
    C is 1, or 3 (red, green, blue).

  Raises:
    Exception: of nearly any type, for a damaged file.
  """
  picture = ImageOps.exif_transpose(picture)
  if picture.mode.startswith(('I', 'F')):
    kind = np.uint16 if picture.mode.startswith('I;16') else np.float32
    return np.asarray(picture).astype(kind, copy=False)[..., None]
  mode = 'L' if picture.mode in ('1', 'L', 'LA', 'La') else 'RGB'
  if picture.has_transparency_data:
    black = Image.new('RGBA', picture.size, 'black')
    picture = Image.alpha_composite(black, picture.convert('RGBA'))
  return np.atleast_3d(np.asarray(picture.convert(mode)))


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
  factor = max(1, excess())
  rows = factor * max(1, _STRIP // (factor * file.width))
  strips = []
  for top in range(0, file.height, rows):
    strip = file.crop((0, top, file.width, min(top + rows, file.height)))
    if strip.mode in ('1', 'P', 'PA'):  # numbers of colours have no average
      strip = strip.convert('L' if strip.mode == '1' else None)
    strips.append(_average(strip, factor))
  reduced = Image.new(strips[0].mode, (strips[0].width, sum(strip.height for strip in strips)))
  for i, strip in enumerate(strips):
    reduced.paste(strip, (0, i * (rows // factor)))
  reduced.info = strips[0].info  # a colour that is transparent
  if orientation is not None:
    reduced.getexif()[ExifTags.Base.Orientation] = orientation
  return reduced


def _average(strip: Image.Image, factor: int) -> Image.Image:
  if not strip.mode.startswith('I;16'):
    return strip.reduce(factor)
  whole = Image.fromarray(np.asarray(strip).astype(np.int32))  # Pillow averages 32 bits alone
  return Image.fromarray(np.asarray(whole.reduce(factor)).astype(np.uint16))


def on_canvas(
  picture: Image.Image, size: int, colour: bool, how: str
) -> UInt8[np.ndarray, 'S S C']:
  """A picture of mode 'L' or 'RGB' in the channels of a model, fitted to its canvas by `fit`."""
  fitted = fit(picture.convert('RGB' if colour else 'L'), size, how)
  return np.atleast_3d(np.asarray(fitted))


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


def unfit_labels(
  labels: Int32[np.ndarray, 'S S'], picture_size: tuple[int, int], how: str
) -> Int32[np.ndarray, 'H W']:
  """Maps a label image on the canvas back to the image that `fit` put there, see `unfit`."""
  width, height = picture_size
  if how == 'pad':
    sides, (left, top) = _padded(picture_size, len(labels))
    labels = labels[top : top + sides[1], left : left + sides[0]]
  inner = (min(picture_size),) * 2 if how == 'crop' else picture_size
  shown = np.asarray(Image.fromarray(labels).resize(inner, Image.Resampling.NEAREST))
  result = np.zeros((height, width), np.int32)
  top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
  result[top : top + inner[1], left : left + inner[0]] = shown
  return result


def _padded(picture_size: tuple[int, int], size: int) -> tuple[tuple[int, int], tuple[int, int]]:
  """(width, height) of an image resized to fit, and its (left, top) corner on the canvas."""
  # ImageOps.pad would round the shorter side of a very long image to 0, and fail.
  width, height = (max(1, round(side * size / max(picture_size))) for side in picture_size)
  return (width, height), ((size - width) // 2, (size - height) // 2)
