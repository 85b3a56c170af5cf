"""Image files: finding and decoding them, fitting them to the canvas, and mapping boxes back."""

import os
import pathlib
import warnings

import numpy as np
from jaxtyping import ArrayLike, Float
from PIL import Image, ImageOps

SUFFIXES = ('.png', '.jpg', '.jpeg')  # in any case; the content decides how a file is decoded


def find(folder: pathlib.Path) -> list[str]:
  """Finds the images in a folder, at any depth; returns sorted names relative to it."""
  # A dangling link counts as an image: it is reported as unreadable rather than skipped silently.
  return sorted(
    path.relative_to(folder).as_posix()
    for path in folder.rglob('*')
    if path.suffix.lower() in SUFFIXES and not os.path.isdir(path)
  )


def decode(path: str | os.PathLike, mode: str) -> Image.Image:
  """Reads the upright image of a file in mode 'RGB' or 'L', over black where transparent.

  Raises:
    Exception: of nearly any type, for a damaged file.
  """
  with warnings.catch_warnings():
    warnings.simplefilter('error', Image.DecompressionBombWarning)
    with Image.open(path) as file:
      picture: Image.Image = ImageOps.exif_transpose(file)
  if picture.mode.startswith(('I', 'F')):
    picture = _to_bytes(picture)
  if picture.has_transparency_data:
    black = Image.new('RGBA', picture.size, 'black')
    picture = Image.alpha_composite(black, picture.convert('RGBA'))
  return picture.convert(mode)


def _to_bytes(picture: Image.Image) -> Image.Image:
  """Scales 16 or 32 bit greys to 8 bits; Pillow would clip them at 255."""
  values = np.nan_to_num(np.asarray(picture).astype(np.float64))
  peak = 65535 if picture.mode.startswith('I;16') else values.max()
  if peak > 255:
    values = values * (255 / peak)
  return Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8))


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
