"""Compares what a model finds in image files with the truth that lies beside them."""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tqdm
from jaxtyping import Int32, UInt8

from air_jax.data import image_files, picture_truth, pictures, preparation
from air_jax.data.image_files import ImageFile
from air_jax.errors import UserError
from air_jax.evaluation import detection, picture_counts, threshold_baseline
from air_jax.inference import file_results, large_pictures, parse_files
from air_jax.inference.predictor import Model

_COUNTS = 'counts.csv'  # in the folder of the images, where no other table is given


class _Scored(NamedTuple):
  """What was found in pictures: counts, and matches where it is known where the objects are."""

  counts: list[int]
  matches: list[detection.Matches]

  def add(self, labels: Int32[np.ndarray, 'H W'], truth: picture_truth.PictureTruth) -> None:
    """Adds a picture."""
    self.counts.append(len(np.unique(labels[labels > 0])))
    if truth.labels is not None:
      self.matches.append(detection.match_masks(truth.labels, labels))
    elif truth.points is not None:
      self.matches.append(detection.match_points(truth.points, labels))

  def summary(self, true_counts: list[int]) -> dict[str, Any]:
    """Of counts and of matches, see `picture_counts` and `detection`."""
    of_counts = picture_counts.summary(np.array(true_counts), np.array(self.counts))
    return of_counts | (detection.summary(self.matches) if self.matches else {})


def evaluate(
  model: Model,
  images: str,
  table: str = '',
  compare: bool = False,
  chosen: Callable[[str], bool] = lambda name: True,
) -> dict[str, Any]:
  """Evaluates a model on image files of which the truth is known, see `picture_truth`.

  Args:
    model: to evaluate.
    images: a folder or pattern, see `parse_files.find`.
    table: a CSV file of counts or points; '' takes counts.csv in the folder, if there is one.
    compare: whether to do the same by thresholds and a watershed, see `threshold_baseline`; of a
      model that was trained on crops, because these say how large objects are.
    chosen: whether the image of a name is compared.

  Returns:
    dict ready for JSON: `step`, the keys of `picture_counts.summary`, those of `detection.summary`
    where it is known where objects are; to compare, `otsu` and `local` with the same keys.

  Raises:
    UserError: there are no images, nothing is known about them, or what is known cannot be read.
  """
  folder, files = parse_files.find(images)
  if not table and (folder / _COUNTS).exists():
    table = str(folder / _COUNTS)
  names = {file.name for file in (*files, *image_files.find(folder)[0])}  # a table may list all
  sources = picture_truth.find(folder, sorted(names), os.path.expanduser(table))
  known = [file for file in files if file.name in sources and chosen(file.name)]
  if not known:
    raise UserError(
      f'nothing is known about the {len(files)} images of {images}: there must be NAME_mask.png '
      'beside NAME, a folder masks/, or a table of counts or points, counts.csv'
    )
  own, otsu, local = (_Scored([], []) for _ in range(3))
  true_counts: list[int] = []
  for file, grey, labels in _found(model, known):
    truth = picture_truth.read(sources[file.name], labels.shape)
    if truth.count is None:
      continue
    true_counts.append(truth.count)
    own.add(labels, truth)
    if compare:
      size = model.config.data.object_pixels
      otsu.add(threshold_baseline.segment(grey, size, 'otsu'), truth)
      local.add(threshold_baseline.segment(grey, size, 'local'), truth)
  if not true_counts:
    raise UserError(f'images={images}: none of its {len(known)} files with a truth can be read')
  others = {'otsu': otsu, 'local': local} if compare else {}
  return {
    'step': model.step,
    **own.summary(true_counts),
    **{name: scored.summary(true_counts) for name, scored in others.items()},
  }


def _found(
  model: Model, files: list[ImageFile]
) -> Iterator[tuple[ImageFile, UInt8[np.ndarray, 'H W'], Int32[np.ndarray, 'H W']]]:
  """Each file that can be read, as grey values, with a label image of the objects found there."""
  data, hidden = model.config.data, not sys.stderr.isatty()
  for file in tqdm.tqdm(files, unit='image', dynamic_ncols=True, disable=hidden):
    values = file_results.read(file, data)
    if values is None:
      continue
    picture = preparation.in_levels(values, data)
    if data.object_pixels:
      labels = large_pictures.parse_large(model, values).labels
    else:
      segments = model.parse(preparation.prepare(values, data).canvas[None]).segments[0]
      labels = pictures.unfit_labels(segments.astype(np.int32), picture.size, data.fit)
    yield file, np.asarray(picture.convert('L')), labels
