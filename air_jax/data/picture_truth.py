"""The truth about a person's pictures, for evaluation: counts, points or label images.

* Counts: a CSV file of `name,count` lines.
* Points: a CSV file with a header and the columns `name`, `x` and `y`, a line for each object.
* Label images: for `cells/a.jpg` a file `a_mask`, `a_masks`, `a_label` or `a_labels` beside it, or
  `a` in a folder `masks` or `labels` that lies in `cells` or beside it. 0 is the background, and
  every object has a number of its own.

`picture_table` reads the CSV files, `label_images` the label images.
"""

import dataclasses
import pathlib
from collections.abc import Iterable

import numpy as np
from absl import logging
from jaxtyping import Float, Int32

from air_jax.data import label_images, picture_table
from air_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Source:
  """Where the truth about a picture is. Label images are large: `read` reads one at a time."""

  picture: pathlib.Path
  count: int | None  # in the CSV file
  points: Float[np.ndarray, 'M 2'] | None  # in the CSV file: (down, right) in pixels
  label_image: pathlib.Path | None


@dataclasses.dataclass(frozen=True)
class PictureTruth:
  """What is known about a picture."""

  count: int | None  # of the labels, else of the points, else of the CSV file
  points: Float[np.ndarray, 'M 2'] | None  # (down, right) in pixels from the top left corner
  labels: Int32[np.ndarray, 'H W'] | None  # 0 for the background, one number for each object


def find(
  folder: pathlib.Path, names: Iterable[str], table: str | pathlib.Path = ''
) -> dict[str, Source]:
  """Finds what is known about pictures.

  Args:
    folder: of the pictures.
    names: of the pictures, relative to the folder.
    table: a CSV file of counts or points; '' for none.

  Returns:
    the source of each picture about which something is known, in the order of the names.

  Raises:
    UserError: the CSV file is invalid, a picture has several label images, or one label image
      may belong to pictures of several folders.
  """
  names = list(names)
  counts, points = picture_table.read(table, names) if table else ({}, {})
  found = label_images.find([folder / name for name in names])
  sources = {}
  for name in names:
    path = folder / name
    if name in counts or name in points or path in found:
      sources[name] = Source(path, counts.get(name), points.get(name), found.get(path))
  return sources


def read(source: Source, size: tuple[int, int]) -> PictureTruth:
  """Reads what is known about a picture.

  Args:
    source: as `find` gives it.
    size: (height, width) of the upright picture, in pixels.

  Raises:
    UserError: the label image is invalid or differs from the picture in size, or a point lies
      outside the picture.
  """
  count, points, labels = source.count, source.points, None
  if points is not None:
    points = _inside(points, source.picture, size)
    count = len(points)
  if source.label_image is not None:
    labels, objects = label_images.read(source.label_image, source.picture, size)
    if count is not None and count != objects:
      logging.warning(
        '%s has %d objects and the CSV file %d; the label image is used',
        source.label_image,
        objects,
        count,
      )
    count = objects
  return PictureTruth(count, points, labels)


def _inside(
  points: Float[np.ndarray, 'M 2'], picture: pathlib.Path, size: tuple[int, int]
) -> Float[np.ndarray, 'M 2']:
  # The centre of the first pixel is at 0 for some programs, at 0.5 for others.
  outside = ((points < -0.5) | (points > size)).any(1)
  if outside.any():
    y, x = points[outside.argmax()]
    raise UserError(
      f'the point x={x:g}, y={y:g} is outside of {picture}, which is {size[1]}x{size[0]} pixels '
      '(width x height)'
    )
  return np.clip(points, 0, size)
