"""Scenes of objects that hide others, against a painter who starts at the back."""

import numpy as np
import pytest
import samples
from scipy import stats

SIDE, CANVAS = 28, 46
CONFIG = samples.data_config(
  layout='occluding', canvas_size=CANVAS, colour=True, palette='uniform', background='colour',
  min_objects=0, max_objects=3,
)  # fmt: skip


@pytest.fixture(scope='module')
def scenes():
  """Opaque squares."""
  return samples.compose(CONFIG, samples.plain_glyphs([255] * 3), 2000)


def _visible(boxes):
  """[N, H, W] the pixels of each box that no earlier box covers."""
  covered, visible = np.zeros((CANVAS, CANVAS), bool), []
  for box in boxes:
    visible.append(samples.mask(box, CANVAS) & ~covered)
    covered |= visible[-1]
  return np.array(visible)


def test_objects_hide_those_placed_after_them(scenes):
  for image, count, boxes, segments in zip(
    scenes.images, scenes.counts, scenes.boxes, scenes.segments, strict=True
  ):
    visible = _visible(boxes)
    assert visible.any((1, 2)).sum() == count
    for pixels in (*visible[:count], ~visible.any(0)):
      assert (image[pixels] == image[pixels][0]).all()
    expected = np.where(visible.any(0), visible.argmax(0) + 1, 0)
    np.testing.assert_array_equal(segments, expected)


def test_a_quarter_of_every_object_is_visible_and_some_are_hidden_that_far(scenes):
  shares = np.concatenate(
    [
      _visible(boxes)[:count].mean((1, 2)) * CANVAS**2 / SIDE**2
      for boxes, count in zip(scenes.boxes, scenes.counts, strict=True)
    ]
  )
  assert 0.25 <= shares.min() < 0.27
  assert 0.3 < (shares < 1).mean() < 0.9


def test_colours_are_uniform_and_independent_of_each_other(scenes):
  one = scenes.counts > 0
  first = [image[box[0] + 1, box[1] + 1] for image, box in zip(
    scenes.images[one], np.int32(scenes.boxes[one, 0]), strict=True
  )]  # fmt: skip
  for channel in np.transpose(first):
    assert stats.kstest((channel + 0.5) / 256, stats.uniform(0, 1).cdf).pvalue > 1e-3
  assert stats.spearmanr(np.array(first)[:, 0], np.array(first)[:, 1]).pvalue > 1e-3


def test_soft_edges_let_through_what_is_behind():
  half = samples.data_config(layout='occluding', canvas_size=CANVAS, min_objects=2, max_objects=2)
  made = samples.compose(half, samples.plain_glyphs([100]), 64)
  for image, boxes in zip(made.images, made.boxes, strict=True):
    first, second = (samples.mask(box, CANVAS) for box in boxes)
    light = 1 - (1 - first * 100 / 255) * (1 - second * 100 / 255)
    np.testing.assert_allclose(image[..., 0], 255 * light, atol=0.51)
