"""A large picture is put together from views."""

import types

import numpy as np
import pytest

from air_jax.inference import mosaic


@pytest.mark.parametrize('starts', [[0], [0, 17, 33, 50], [0, 16, 33]])
def test_every_pixel_is_that_of_the_view_in_which_it_lies_deepest(starts):
  size = 50
  tops, lefts = np.array(starts), np.array([0, 13, 30])
  picture = np.zeros((starts[-1] + size, 30 + size, 1), np.uint8)
  corners = [(y, x) for y in starts for x in lefts.tolist()]
  painted = mosaic.Mosaic(picture, size, (tops, lefts))
  shades = (np.arange(len(corners)) + 1) / 255
  canvases = np.broadcast_to(shades[:, None, None, None], (len(corners), size, size, 1))
  numbers = np.zeros(len(corners))
  painted.add(
    types.SimpleNamespace(
      canvases=canvases, backgrounds=0 * canvases, elbo=numbers, elbo_ranks=numbers, unlike=numbers
    ),
    corners,
  )
  y, x = np.indices(picture.shape[:2])[:, None]
  top, left = np.array(corners).T[..., None, None]
  inwards = np.minimum(
    np.minimum(y - top, top + size - 1 - y), np.minimum(x - left, left + size - 1 - x)
  )
  own = np.take_along_axis(inwards, painted._canvas[None, ..., 0].astype(int) - 1, 0)[0]
  np.testing.assert_array_equal(own, inwards.max(0))
