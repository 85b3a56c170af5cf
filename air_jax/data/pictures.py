"""A person's picture files: found, decoded, fitted to a canvas, and boxes taken back to them."""

import os
import warnings

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = ('.png', '.jpg', '.jpeg')  # in any case; the content decides how a file is decoded


def find(folder):
  """Names of the pictures in a folder, at any depth, relative to it, sorted."""
  # A dangling link counts as a picture: better reported as unreadable than passed over in silence.
  return sorted(
    path.relative_to(folder).as_posix()
    for path in folder.rglob('*')
    if path.suffix.lower() in SUFFIXES and not os.path.isdir(path)
  )


def decode(path, mode):
  """The upright picture of a file in mode 'RGB' or 'L', on black where it is transparent.

  Raises:
    Exception: nearly any, of a spoilt file.
  """
  with warnings.catch_warnings():
    warnings.simplefilter('error', Image.DecompressionBombWarning)
    with Image.open(path) as file:
      picture = ImageOps.exif_transpose(file)
  if picture.mode.startswith(('I', 'F')):
    picture = _to_bytes(picture)
  if picture.has_transparency_data:
    black = Image.new('RGBA', picture.size, 'black')
    picture = Image.alpha_composite(black, picture.convert('RGBA'))
  return picture.convert(mode)


def _to_bytes(picture):
  """Scales greys of 16 or 32 bits to 8, which Pillow would clip at 255."""
  values = np.nan_to_num(np.asarray(picture).astype(np.float64))
  peak = 65535 if picture.mode.startswith('I;16') else values.max()
  if peak > 255:
    values = values * (255 / peak)
  return Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8))


def fit(picture, size, how):
  """Brings a picture to a square canvas.

  Args:
    picture: Pillow image.
    size: side of the canvas in pixels.
    how: 'crop' cuts what is beyond the middle square, 'pad' adds black, 'squash' distorts.

  Returns:
    Pillow image of that size.
  """
  if how == 'crop':
    return ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)
  if how == 'squash':
    return picture.resize((size, size), Image.Resampling.BILINEAR)
  sides, corner = _padded(picture.size, size)
  canvas = Image.new(picture.mode, (size, size))
  canvas.paste(picture.resize(sides, Image.Resampling.BILINEAR), corner)
  return canvas


def unfit(boxes, picture_size, size, how):
  """Takes boxes on the canvas back to the picture that `fit` brought there.

  Args:
    boxes: [..., 4] (top, left, height, width) in pixels of the canvas.
    picture_size: (width, height) of the picture.
    size: side of the canvas.
    how: as `fit` was told.

  Returns:
    [..., 4] float32 in pixels of the picture, without what lies outside of it.
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
    corner = -ratio * margin
  low, high, end = corner[::-1], ratio[::-1], wide[::-1]  # as boxes are: down, then right
  boxes = np.asarray(boxes, np.float64)
  first = np.clip(low + high * boxes[..., :2], 0, end)
  last = np.clip(low + high * (boxes[..., :2] + boxes[..., 2:]), 0, end)
  return np.concatenate([first, last - first], -1).astype(np.float32)


def _padded(picture_size, size):
  """(width, height) of a picture shrunk or enlarged to fit, and the (left, top) corner it gets."""
  # ImageOps.pad would round the shorter side of a very long picture to 0, and fail.
  sides = tuple(max(1, round(side * size / max(picture_size))) for side in picture_size)
  return sides, tuple((size - side) // 2 for side in sides)
