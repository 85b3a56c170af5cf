"""The segments of parsed scenes: where each object changes the image."""

import jax.numpy as jnp
import numpy as np
import pytest

from air_jax.inference import parsed_scenes


def changes(*canvases):
  additions = jnp.diff(jnp.stack(canvases), axis=0)
  return np.asarray(parsed_scenes._changes(additions, _placed(len(additions))))


def _placed(number):
  return jnp.tile(jnp.array([0.5, 0.0, 0.0]), (number, 1))  # size, x, y


@pytest.mark.parametrize('sign', [1, -1])
def test_what_changes_the_other_way_than_the_middle_is_no_part(sign):
  background = np.full((24, 24, 1), 0.5, np.float32)
  image = background.copy()
  image[6:18, 6:18] -= sign * 0.3  # a shadow, of more pixels than the object
  image[9:15, 9:15] = 0.5 + sign * 0.4
  (change,) = changes(background, image)
  inside = np.zeros((24, 24), bool)
  inside[9:15, 9:15] = True
  np.testing.assert_allclose(change[inside], 0.4, atol=1e-6)
  assert not change[~inside].any()


def test_a_change_of_colour_counts_in_the_direction_of_the_middle():
  background = np.zeros((24, 24, 3), np.float32)
  image = background.copy()
  image[9:15, 9:15] = [0.3, 0.4, 0.0]
  image[9:15, 15:18] = [0.0, 0.0, 0.9]  # of another colour
  (change,) = changes(background, image)
  np.testing.assert_allclose(change[10:14, 10:14], 0.5, atol=0.05)
  assert change[10:14, 15:18].max() < 0.25


def test_an_object_that_changes_nothing_has_no_segment():
  blank = np.zeros((24, 24, 1), np.float32)
  assert not changes(blank, blank, blank).any()
