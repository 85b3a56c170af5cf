"""Large arrays are worked on a strip of rows at a time."""

import numpy as np
import pytest
from PIL import Image

from air_jax.runtime import strips

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True, params=[20, 1 << 20])
def _size(request, monkeypatch):
  monkeypatch.setattr(strips, '_VALUES', request.param)


@pytest.mark.parametrize('shape', [(7, 5), (1, 40), (9, 2, 3), (0, 3)])
def test_strips_give_what_the_whole_array_gives(shape):
  values = RNG.integers(12, size=shape).astype(np.uint16)
  rows = [*strips.of(values)]
  assert [row for strip in rows for row in range(strip.start, strip.stop)] == [*range(shape[0])]
  np.testing.assert_array_equal(strips.count(values, 15), np.bincount(values.ravel(), minlength=15))
  table = RNG.integers(1000, size=12).astype(np.int32)
  found = strips.look_up(table, values)
  np.testing.assert_array_equal(found, table[values])
  assert found.dtype == np.int32


@pytest.mark.parametrize('shape', [(14, 10), (3, 4), (7, 20), (7, 5)])
def test_label_images_are_resized_as_pillow_does(shape):
  labels = RNG.integers(70_000, size=(7, 5)).astype(np.int32)
  expected = Image.fromarray(labels).resize(shape[::-1], Image.Resampling.NEAREST)
  np.testing.assert_array_equal(strips.resize(labels, shape), np.asarray(expected))
