"""--mode=evaluate --images: what is found in image files against the truth beside them."""

import numpy as np
import own_images
import pytest
import test_large_pictures as known

from air_jax.errors import UserError
from air_jax.inference import evaluate_files

SHAPE = 120, 160


@pytest.fixture
def model():
  """Finds the bright parts of pictures."""
  return known.Threshold()


@pytest.fixture
def photos(tmp_path):
  """Pictures of 4, 2 and 3 discs."""
  for name, number in zip('abc', (4, 2, 3), strict=True):
    picture, _ = known.discs(SHAPE, known.scattered(SHAPE, number, seed=number))
    own_images.save(picture[..., 0], tmp_path / f'{name}.png')
  return tmp_path


def save_masks(photos):
  """Label images of the first two, in one of which an object more is said to be."""
  for name, number in zip('ab', (4, 2), strict=True):
    _, labels = known.discs(SHAPE, known.scattered(SHAPE, number, seed=number))
    if name == 'b':
      labels[:3, :3] = 9
    own_images.save(labels.astype(np.uint8), photos / f'{name}_mask.png')


def test_objects_are_compared_with_label_images(model, photos):
  save_masks(photos)
  summary = evaluate_files.evaluate(model, str(photos / '[abc].png'), compare=True)
  assert summary['step'] == 7 and summary['pictures'] == summary['located_pictures'] == 2
  assert summary['count_accuracy'] == 0.5 and summary['mean_true_count'] == 3.5
  assert (summary['true_objects'], summary['found_objects']) == (7, 6)
  assert summary['matched_objects'] == 6 and summary['matched_iou'] > 0.9
  for name in ('otsu', 'local'):
    assert summary[name]['matched_objects'] == 6


def test_counts_are_compared_with_a_table_in_the_folder(model, photos):
  (photos / 'counts.csv').write_text('name,count\na.png,4\nb.png,3\nc.png,3\n')
  summary = evaluate_files.evaluate(model, str(photos))
  assert summary['pictures'] == 3 and summary['count_accuracy'] == pytest.approx(2 / 3)
  assert summary['commonest_count'] == 3 and 'f1' not in summary and 'otsu' not in summary


def test_some_of_the_images_are_compared_by_a_table_of_all(model, photos):
  (photos / 'counts.csv').write_text('name,count\na.png,4\nb.png,3\nc.png,3\n')
  assert evaluate_files.evaluate(model, str(photos / '[ab].png'))['pictures'] == 2
  only = evaluate_files.evaluate(model, str(photos), chosen=lambda name: name == 'b.png')
  assert only['pictures'] == 1 and only['count_accuracy'] == 0


def test_points_are_in_the_objects_found(model, photos, tmp_path):
  lines = [
    f'{name}.png,{x},{y}'
    for name, number in zip('ab', (4, 2), strict=True)
    for y, x in known.scattered(SHAPE, number, seed=number)
  ]
  (table := tmp_path / 'points.csv').write_text('\n'.join(['name,x,y', *lines]))
  summary = evaluate_files.evaluate(model, str(photos), str(table))
  assert summary['pictures'] == 2 and summary['f1'] == 1.0


def test_a_model_of_whole_images(photos):
  save_masks(photos)

  whole = known.Threshold(object_pixels=0.0, fit='squash')
  summary = evaluate_files.evaluate(whole, str(photos / '[abc].png'))
  assert summary['found_objects'] == 6 and summary['matched_objects'] == 6


def test_images_of_which_nothing_is_known_are_refused(model, photos):
  with pytest.raises(UserError, match='nothing is known about the 3 images'):
    evaluate_files.evaluate(model, str(photos))
  (photos / 'a_mask.png').write_bytes(b'none')
  with pytest.raises(UserError, match=r'a_mask\.png cannot be read'):
    evaluate_files.evaluate(model, str(photos / '[abc].png'))
