"""benchmarks.own_pictures: what is compared, and its table."""

import pathlib

import own_images
import pytest

from air_jax.errors import UserError
from benchmarks import own_pictures


def result(seed, found, **more):
  """A run on one picture of 24 objects."""
  return {
    'pictures': 'coins', 'seed': seed, 'steps': 2000, 'object_pixels': 45.0, 'seconds': 100 + seed,
    'summary': of(found, **more) | {'otsu': of(27), 'local': of(20)},
  }  # fmt: skip


def of(found, **more):
  return {
    'pictures': 1, 'mean_true_count': 24.0, 'mean_found_count': float(found),
    'count_accuracy': float(found == 24), 'total_error_percent': 100 * (found - 24) / 24, **more,
  }  # fmt: skip


def test_the_table_has_a_row_for_each_way_with_the_values_of_all_seeds():
  table = own_pictures.table([result(1, 23, f1=0.9), result(0, 24, f1=1.0)]).splitlines()
  assert len(table) == 5
  cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in table[2:]]
  assert cells[0][:4] == ['`coins`', 'AIR', '2,000', '100, 101']
  assert cells[0][4:] == ['24, 23 of 24', '+0.0, -4.2', '100.0, 0.0', '100.0, 90.0']
  assert cells[1] == ['`coins`', 'threshold (Otsu)', '', '', '27 of 24', '+12.5', '0.0', '']
  assert cells[2][4] == '20 of 24'


def test_pictures_are_named_with_the_size_of_an_object():
  assert own_pictures._named('coins') == ('coins', (None, 45.0))
  assert own_pictures._named('some/cells:24') == ('cells', (pathlib.Path('some/cells'), 24.0))
  for given in ('cells', 'cells:', 'cells:x', 'cells:-1'):
    with pytest.raises(UserError, match='must be FOLDER:PIXELS'):
      own_pictures._named(given)


def test_pictures_that_were_held_out_are_compared(tmp_path):
  own_images.save_named(tmp_path, [own_images.TRAIN_NAME, own_images.TEST_NAME])
  chosen = own_pictures._compared(tmp_path)
  assert chosen(own_images.TEST_NAME) and not chosen(own_images.TRAIN_NAME)


@pytest.mark.parametrize('name', [own_images.TRAIN_NAME, own_images.TEST_NAME])
def test_a_picture_of_which_a_part_was_held_out_is_compared(tmp_path, name):
  own_images.save_named(tmp_path, [name])
  assert own_pictures._compared(tmp_path)(name)
