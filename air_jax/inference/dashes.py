"""Outlines of regions on pictures: those of what is not explained are dashed in black and white."""

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image

from air_jax.runtime import strips

_DASH = 4  # pixels, along a row or a column
_WIDTH = 2  # pixels


def draw(picture: Image.Image, regions: Int[np.ndarray, 'h w']) -> Image.Image:
  """A picture in mode RGB with dashed outlines inside regions.

  Args:
    picture: to draw on a copy of.
    regions: label image of the same view, of any size; 0 is no region.
  """
  if not regions.any():
    return picture
  labels = strips.resize(regions, (picture.height, picture.width))
  pixels = np.array(picture)
  edge = np.zeros(labels.shape, bool)
  for _ in range(_WIDTH):
    edge |= outlines(np.where(edge, 0, labels))
  rows, columns = np.nonzero(edge)
  white = (rows + columns) // _DASH % 2 == 0
  pixels[rows, columns] = np.where(white, 255, 0)[:, None]
  return Image.fromarray(pixels)


def outlines(labels: Int[np.ndarray, 'H W']) -> Bool[np.ndarray, 'H W']:
  """The pixels of objects that have a neighbour of another label."""
  padded = np.pad(labels, 1)
  differs = np.zeros(labels.shape, bool)
  for rows, columns in ((0, 1), (2, 1), (1, 0), (1, 2)):
    height, width = labels.shape
    differs |= padded[rows : rows + height, columns : columns + width] != labels
  return differs & (labels > 0)
