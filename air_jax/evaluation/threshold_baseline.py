"""What people use without a model: a threshold, and a watershed between the objects that touch.

The recipe of scikit-image's examples: smooth the picture, take what is brighter than a threshold,
and split it where the distance to its edge has several peaks. Its lengths follow from one number,
the usual diameter of an object.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import scipy.ndimage
from jaxtyping import Int, Int32, Num

from air_jax.evaluation import detection
from air_jax.runtime import extras

Threshold = Literal['otsu', 'local']
PEAK_DISTANCES = (0.25, 0.5, 0.75)  # of `best_of_settings`, in diameters
_BLOCK = 3.0  # side of the neighbourhood of a local threshold, in diameters
_OFFSET = 0.1  # of a local threshold, in standard deviations of the picture
_LEAST_AREA = 0.1  # of an object, in areas of a disc of the usual diameter


class Best(NamedTuple):
  """The settings that do best on a picture, and what they find."""

  threshold: Threshold
  peak_distance: float  # in diameters
  summary: dict[str, float]  # of `detection.summary`
  labels: Int32[np.ndarray, 'H W']


def segment(
  image: Num[np.ndarray, 'H W'],
  object_pixels: float,
  threshold: Threshold = 'local',
  peak_distance: float = 0.5,
  dark_objects: bool = False,
) -> Int32[np.ndarray, 'H W']:
  """Finds objects that are brighter than what is around them.

  Args:
    image: grey values, finite, in any unit.
    object_pixels: usual diameter of an object, > 0.
    threshold: 'otsu' separates the values of the whole picture into two classes; 'local' takes what
      is brighter than its neighbourhood, three diameters wide, by a tenth of the picture's standard
      deviation.
    peak_distance: least distance between the centres of two objects that touch, in diameters.
    dark_objects: whether objects are darker than what is around them.

  Returns:
    label image with the numbers 1..N; objects smaller than a tenth of a disc of the usual diameter
    are left out.

  Raises:
    ValueError: an argument is out of range.
    UserError: scikit-image is not installed.
  """
  if not object_pixels > 0:
    raise ValueError(f'object_pixels={object_pixels}; it must be > 0')
  if threshold not in get_args(Threshold):
    raise ValueError(f'threshold={threshold!r}; it must be one of {get_args(Threshold)}')
  with extras.needed('compare', 'the comparison with thresholds'):
    from skimage import feature, filters, measure, segmentation

  if not np.ptp(image):  # else a local threshold would find rounding errors
    return np.zeros(image.shape, np.int32)
  smooth = filters.gaussian(image.astype(np.float64) * (-1 if dark_objects else 1), 1.0)
  if threshold == 'otsu':
    bright = smooth > filters.threshold_otsu(smooth)
  else:
    side = 2 * round(_BLOCK * object_pixels / 2) + 1
    bright = smooth > filters.threshold_local(smooth, side, offset=-_OFFSET * smooth.std())
  least = _LEAST_AREA * np.pi / 4 * object_pixels**2
  bright = scipy.ndimage.binary_fill_holes(bright)
  # Specks go before, too: noise has thousands, and the search for peaks takes each on its own.
  areas = _without_small(measure.label(bright), least)
  distance = filters.gaussian(scipy.ndimage.distance_transform_edt(areas > 0), 1.0)
  peaks = feature.peak_local_max(
    distance,
    min_distance=max(1, round(peak_distance * object_pixels)),
    labels=areas,
    exclude_border=False,
  )
  markers = np.zeros(image.shape, np.int32)
  markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
  return _without_small(segmentation.watershed(-distance, markers, mask=areas > 0), least)


def _without_small(labels: Int[np.ndarray, 'H W'], least: float) -> Int32[np.ndarray, 'H W']:
  """The objects of at least so many pixels, with new numbers."""
  kept = np.bincount(labels.ravel()) >= least
  kept[0] = False
  return np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]


def best_of_settings(
  image: Num[np.ndarray, 'H W'],
  truth: Int[np.ndarray, 'H W'],
  object_pixels: float | None = None,
  thresholds: Sequence[Threshold] = get_args(Threshold),
  peak_distances: Sequence[float] = PEAK_DISTANCES,
  dark_objects: bool = False,
) -> Best:
  """The settings of `segment` with the highest F1 at a mask IoU of 0.5.

  They are chosen by the truth: the result is what a person gets at best, who tries all of them.

  Args:
    image: grey values.
    truth: label image of true objects.
    object_pixels: usual diameter; None for that of the truth.
    thresholds: those to be tried.
    peak_distances: those to be tried, in diameters.
    dark_objects: whether objects are darker than what is around them.

  Raises:
    ValueError: an argument is out of range, or the truth has no object and no diameter is given.
    UserError: scikit-image is not installed.
  """
  diameter = usual_diameter(truth) if object_pixels is None else object_pixels
  tried = []
  for threshold in thresholds:
    for peak_distance in peak_distances:
      labels = segment(image, diameter, threshold, peak_distance, dark_objects)
      summary = detection.summary([detection.match_masks(truth, labels)])
      tried.append(Best(threshold, peak_distance, summary, labels))
  return max(tried, key=lambda best: best.summary['f1'])


def usual_diameter(truth: Int[np.ndarray, 'H W']) -> float:
  """Median over objects of the diameter, in pixels, of a disc of the same area.

  Raises:
    ValueError: there is no object.
  """
  label, _, pixels = detection.pixel_pairs(truth, truth)
  if not (label > 0).any():
    raise ValueError('the truth has no object; object_pixels must be given')
  return float(np.median(np.sqrt(pixels[label > 0] * (4 / np.pi))))
