"""Composed scenes against independent readings of the rules in scenes.py."""

import numpy as np
import pytest
import samples
from PIL import Image
from scipy import stats

from air_jax.data import scenes
from air_jax.data.glyphs import load as load_glyphs
from air_jax.errors import UserError


def mask(box, canvas_size):
  """Pixels of a box, by comparing coordinates."""
  y, x = np.mgrid[:canvas_size, :canvas_size]
  top, left, height, width = box
  return (top <= y) & (y < top + height) & (left <= x) & (x < left + width)


@pytest.mark.parametrize('layout', ['disjoint', 'touching'])
def test_counts_are_even_although_crowded_scenes_are_refused(layout):
  made = scenes.compose(
    samples.plain_glyphs([255]), 6000, layout=layout, canvas_size=58, max_objects=2, seed=1
  )
  assert stats.chisquare(np.bincount(made.counts, minlength=3)).pvalue > 1e-3
  np.testing.assert_array_equal((made.labels >= 0).sum(1), made.counts)
  np.testing.assert_array_equal((made.boxes[..., 2:] > 0).all(-1).sum(1), made.counts)
  assert not made.images[made.counts == 0].any()


def test_counts_begin_at_min_objects():
  glyphs = load_glyphs('digits', 'test')
  recipe = {'layout': 'disjoint', 'canvas_size': 60, 'max_objects': 3, 'seed': 0}
  made = scenes.compose(glyphs, 3000, min_objects=2, **recipe)
  assert stats.chisquare(np.bincount(made.counts)[2:]).pvalue > 1e-3
  assert set(made.counts) == {2, 3}
  assert set(scenes.compose(glyphs, 50, min_objects=3, **recipe).counts) == {3}


@pytest.mark.parametrize('layout', ['disjoint', 'touching'])
def test_scenes_are_a_function_of_the_seed(layout):
  glyphs = load_glyphs('digits', 'test')
  first, again, other = (
    scenes.compose(glyphs, 200, layout=layout, canvas_size=50, max_objects=2, seed=seed)
    for seed in ((3, 1), (3, 1), (3, 2))
  )
  for a, b, c in zip(first, again, other, strict=True):
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_disjoint_boxes_hold_whole_digits_at_native_size_and_all_ink():
  glyphs = load_glyphs('digits', 'train')
  cropped = {}
  for image, label in zip(*glyphs, strict=True):
    rows, columns = np.nonzero(image)
    crop = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    cropped[crop.shape, crop.tobytes()] = label
  made = scenes.compose(glyphs, 2000, layout='disjoint', canvas_size=50, max_objects=2, seed=0)
  for image, count, boxes, labels in zip(*made, strict=True):
    outside = image.copy()
    for (top, left, height, width), label in zip(boxes[:count].astype(int), labels, strict=False):
      crop = image[top : top + height, left : left + width]
      assert cropped[crop.shape, crop.tobytes()] == label
      outside[top : top + height, left : left + width] = 0
    assert not outside.any()
    assert sum(mask(box, 50).astype(int) for box in boxes).max() <= 1


def test_disjoint_boxes_may_share_an_edge_on_any_side():
  glyphs = samples.plain_glyphs([255])
  glyphs.images[:, 15:] = glyphs.images[:, :, 15:] = 0
  made = scenes.compose(
    glyphs, 60, layout='disjoint', canvas_size=30, max_objects=2, seed=0, min_objects=2
  )
  offsets = made.boxes[:, 1, :2] - made.boxes[:, 0, :2]
  assert (abs(offsets).max(1) == 15).all()  # there is no room to be further apart
  for axis in (0, 1):
    assert set(offsets[abs(offsets[:, axis]) == 15, axis]) == {-15, 15}


def test_touching_scenes_are_sums_of_shrunk_digits_that_stay_within_255():
  ink = np.array([90, 120, 200])
  made = scenes.compose(
    samples.plain_glyphs(ink), 500, layout='touching', canvas_size=50, max_objects=3, seed=0
  )
  overlapping = 0
  for image, count, boxes, labels in zip(*made, strict=True):
    masks = [mask(box, 50) for box in boxes[:count]]
    expected = sum((ink[k] * m for k, m in zip(labels, masks, strict=False)), np.zeros((50, 50)))
    np.testing.assert_array_equal(image, expected)
    overlapping += bool(masks) and sum(m.astype(int) for m in masks).max() > 1
  assert made.images.max() in (180, 210, 240)
  assert overlapping > 20


def test_touching_digits_are_shrunk_by_a_normal_factor():
  made = scenes.compose(
    samples.plain_glyphs([255]), 5000, layout='touching', canvas_size=50, max_objects=1, seed=0,
    min_objects=1,
  )  # fmt: skip
  sides = made.boxes[:, 0, 2].astype(int)
  np.testing.assert_array_equal(made.boxes[:, 0, 2], made.boxes[:, 0, 3])
  # A side is floor(28 / factor), at most 28; rare sides are put together.
  edges = np.array([np.inf, *(28 / np.arange(19, 26)), -np.inf])
  shares = -np.diff(stats.norm(1.3, 0.1).cdf(edges))
  seen = np.bincount(np.clip(sides, 18, 25) - 18, minlength=8)
  assert stats.chisquare(seen, shares * len(sides)).pvalue > 1e-3
  assert sides.max() <= 28


def test_touching_boxes_are_tight_around_ink_and_labels_are_right():
  glyphs = load_glyphs('digits', 'test')
  # Shades tell the labels apart: the brightest pixel of a digit of label l is 20 l + 60.
  peaks = glyphs.images.max((1, 2), keepdims=True)
  shades = (20 * glyphs.labels + 60)[:, None, None]
  glyphs = glyphs._replace(images=np.round(glyphs.images / peaks * shades).astype(np.uint8))
  made = scenes.compose(
    glyphs, 500, layout='touching', canvas_size=50, max_objects=1, seed=0, min_objects=1
  )
  for image, box, label in zip(made.images, made.boxes[:, 0], made.labels[:, 0], strict=True):
    rows, columns = np.nonzero(image)
    corner = rows.min(), columns.min()
    np.testing.assert_array_equal(box[:2], corner)
    np.testing.assert_array_equal(box[:2] + box[2:], (rows.max() + 1, columns.max() + 1))
    assert 0.7 * (20 * label + 60) < image.max() <= 20 * label + 60
  assert len(set(made.labels[:, 0])) == 10


@pytest.mark.parametrize('layout', ['disjoint', 'touching'])
def test_positions_are_uniform_in_both_axes_and_independent(layout):
  glyphs = samples.plain_glyphs([255])
  glyphs.images[:, 20:] = 0  # not square: axes must not be mixed up
  if layout == 'touching':
    glyphs.images[:] = 255  # no border: boxes tell where the digit was put
  size = 5000
  made = scenes.compose(
    glyphs, size, layout=layout, canvas_size=50, max_objects=1, seed=0, min_objects=1
  )
  corners, sizes = made.boxes[:, 0, :2], made.boxes[:, 0, 2:]
  # A corner is one of 50 - side + 1; spread over its pixel it is uniform in [0, 1).
  spread = (corners + np.random.default_rng(0).random(corners.shape)) / (51 - sizes)
  for axis in (0, 1):
    assert stats.kstest(spread[:, axis], 'uniform').pvalue > 1e-3
  correlation = np.corrcoef(spread.T)[0, 1]
  assert abs(correlation) * np.sqrt(size) < 4
  table = np.histogram2d(*spread.T, bins=5, range=[(0, 1), (0, 1)])[0]
  assert stats.chisquare(table.ravel()).pvalue > 1e-3


def test_shrinking_is_what_pil_calls_bilinear():
  images = load_glyphs('digits', 'test').images[:3]
  for side in range(12, 29):
    small = scenes._shrink(images[:, None], np.full((3, 1), side))[:, 0]
    for ours, image in zip(small, images, strict=True):
      theirs = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
      difference = ours[:side, :side].astype(int) - theirs
      assert abs(difference).max() <= 1
      assert not ours[side:].any() and not ours[:, side:].any()


@pytest.mark.parametrize('layout', ['disjoint', 'touching'])
def test_canvas_smaller_than_a_digit_is_refused(layout):
  with pytest.raises(UserError, match=r'data\.canvas_size=27 .* at least 28'):
    scenes.compose(
      samples.plain_glyphs([9]), 1, layout=layout, canvas_size=27, max_objects=1, seed=0
    )


def test_more_objects_than_fit_are_refused():
  glyphs = samples.plain_glyphs([255])
  with pytest.raises(UserError, match=r'data\.max_objects=2 .* data\.canvas_size=40;'):
    scenes.compose(
      glyphs, 9, layout='disjoint', canvas_size=40, max_objects=2, seed=0, min_objects=2
    )
