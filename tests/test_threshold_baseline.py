"""Thresholds and watersheds: on drawn discs, and the figures on pictures of others."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from air_jax.evaluation import detection, threshold_baseline


def discs(centres, radius=8, size=(90, 120)):
  """A picture of discs of brightness 1 on 0, and its label image."""
  y, x = np.mgrid[: size[0], : size[1]]
  labels = np.zeros(size, int)
  for number, (row, column) in enumerate(centres, 1):
    labels[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = number
  return (labels > 0).astype(float), labels


APART = [(20, 20), (20, 60), (60, 30), (60, 90)]
TOUCHING = [(20, 20), (20, 35), (60, 50), (74, 50)]


@pytest.mark.parametrize('threshold', ['otsu', 'local'])
@pytest.mark.parametrize('centres', [APART, TOUCHING])
@pytest.mark.parametrize('scale', [1.0, -40.0])
def test_discs_are_found_touching_ones_and_dark_ones_too(threshold, centres, scale):
  image, truth = discs(centres)
  noise = np.random.default_rng(0).normal(0, 0.05, image.shape)
  found = threshold_baseline.segment(
    scale * (image + noise), 16, threshold, 0.5, dark_objects=scale < 0
  )
  matches = detection.match_masks(truth, found, 0.7)
  assert len(matches.pairs) == matches.true == matches.found == 4
  assert found.dtype == np.int32 and sorted(set(found.ravel())) == [0, 1, 2, 3, 4]


def test_otsus_threshold_needs_even_light_and_a_local_one_does_not():
  image, truth = discs(APART)
  image += np.linspace(0, 4, image.shape[1])
  assert threshold_baseline.best_of_settings(image, truth, thresholds=['otsu']).summary['f1'] < 0.5
  best = threshold_baseline.best_of_settings(image, truth)
  assert best.threshold == 'local' and best.summary['recall'] == 1


def test_best_of_settings_is_the_best_of_those_tried_one_by_one():
  image, truth = discs([(20, 20), (20, 31), (60, 50), (60, 90)])
  best = threshold_baseline.best_of_settings(image, truth, object_pixels=16)
  scores = {}
  for threshold in ('otsu', 'local'):
    for distance in threshold_baseline.PEAK_DISTANCES:
      found = threshold_baseline.segment(image, 16, threshold, distance)
      scores[threshold, distance] = detection.summary([detection.match_masks(truth, found)])
  assert best.summary == scores[best.threshold, best.peak_distance]
  f1 = [each['f1'] for each in scores.values()]
  assert best.summary['f1'] == max(f1) > min(f1)


def test_small_areas_are_no_objects_and_holes_are_filled():
  image, truth = discs(APART)
  image[40:42, 60:62] = 1
  image[20, 20] = image[60, 90] = 0
  found = threshold_baseline.segment(image, 16, 'otsu')
  assert found.max() == 4 and (found[[20, 60], [20, 90]] > 0).all()


def test_an_even_picture_has_no_objects():
  for threshold in ('otsu', 'local'):
    for value in (7, 27.958055774008006):  # a Gaussian of the second one is not even
      assert not threshold_baseline.segment(np.full((62, 37), value), 4.37, threshold).any()


def test_usual_diameter_is_that_of_the_median_disc():
  _, truth = discs(APART, radius=10)
  truth[0, :3] = 99
  assert threshold_baseline.usual_diameter(truth) == pytest.approx(20, rel=0.02)
  with pytest.raises(ValueError, match='has no object; object_pixels must be given'):
    threshold_baseline.usual_diameter(0 * truth)


@pytest.mark.parametrize(
  'arguments, complaint', [((0,), 'object_pixels=0; it must be > 0'), ((8, 'x'), "threshold='x'")]
)
def test_arguments_out_of_range_are_refused(arguments, complaint):
  with pytest.raises(ValueError, match=complaint):
    threshold_baseline.segment(np.eye(9), *arguments)


def test_figures_on_pictures_of_others(real_dir):
  # Those of the folder's README, by a recipe whose details it does not give: 0.69 and 0.91 for the
  # nuclei, 0.94 and 0.84 for the coins.
  images = {
    'nuclei': tifffile.imread(real_dir / 'nuclei.tif'),
    'coins': np.asarray(Image.open(real_dir / 'coins.png')),
  }
  ours = {}
  for name, image in images.items():
    truth = np.asarray(Image.open(real_dir / f'{name}_mask.png')).astype(np.int64)
    for threshold in ('otsu', 'local'):
      best = threshold_baseline.best_of_settings(image, truth, thresholds=[threshold])
      ours[name, threshold] = best.summary['f1'], best.summary['found_objects']
  assert {key: (round(f1, 2), found) for key, (f1, found) in ours.items()} == {
    ('nuclei', 'otsu'): (0.69, 76),
    ('nuclei', 'local'): (0.89, 86),
    ('coins', 'otsu'): (0.90, 25),
    ('coins', 'local'): (0.94, 27),
  }
