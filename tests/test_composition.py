"""Composed scenes against independent readings of the rules in composition.py."""

import dataclasses
import hashlib

import jax
import numpy as np
import pytest
import samples
from PIL import Image
from scipy import stats

from air_jax.data import composition, digits
from air_jax.errors import UserError
from air_jax.types import LabelledScenes

# Configurations are shared by the tests: each takes seconds to compile.
CORNERS = samples.data_config(canvas_size=20)  # of glyphs of 10x10, see `corners`
TOUCHING = samples.data_config(layout='touching', canvas_size=46)
SHADES = np.repeat([90, 120, 200], 10)  # of glyphs without a border, by label
SIZES = samples.data_config(min_objects=1, max_objects=1, min_scale=0.5, max_scale=1.5)
MANY = samples.data_config(canvas_size=100, max_objects=9)
GRADIENT = samples.data_config(
  source='sprites', colour=True, background='gradient', min_objects=1, max_objects=3
)


def corner_glyphs(side, number=3):
  """Glyphs full of ink in a corner of that many pixels, blank elsewhere."""
  glyphs = samples.plain_glyphs([255] * number)
  glyphs.images[:, side:] = glyphs.images[:, :, side:] = 0
  return glyphs


@pytest.fixture(scope='module')
def corners():
  """Two boxes only fit where the first one stands at an edge, and the second at the other."""
  return samples.compose(CORNERS, corner_glyphs(10), 4000)


@pytest.fixture(scope='module')
def touching():
  """Crowded: two of shade 200 cannot overlap, and often have no room to be apart."""
  return samples.compose(TOUCHING, samples.plain_glyphs(SHADES), 4500)


@pytest.fixture(scope='module')
def sizes():
  glyphs = samples.plain_glyphs([255] * 3)
  glyphs.images[:, 20:] = 0  # not square: axes must not be mixed up
  return samples.compose(SIZES, glyphs, 5000)


@pytest.fixture(scope='module')
def many():
  return samples.compose(MANY, digits.read(None, 'train'), 1536)


@pytest.fixture(scope='module')
def gradient():
  return samples.compose(GRADIENT, None, 1000)


def assert_same(a, b):
  for x, y in zip(a, b, strict=True):
    np.testing.assert_array_equal(x, y)
    assert x.dtype == y.dtype


@pytest.mark.parametrize(
  ('name', 'least', 'most'),
  [('corners', 0, 2), ('touching', 0, 2), ('many', 0, 9), ('gradient', 1, 3)],
)
def test_counts_are_even_although_crowded_scenes_are_refused(request, name, least, most):
  made = request.getfixturevalue(name)
  seen = np.bincount(made.counts, minlength=most + 1)
  assert len(seen) == most + 1 and not seen[:least].any()
  assert stats.chisquare(seen[least:]).pvalue > 1e-3


@pytest.mark.parametrize('name', ['corners', 'touching', 'many', 'gradient'])
def test_rows_up_to_the_count_are_objects_and_the_others_blank(request, name):
  made = request.getfixturevalue(name)
  present = np.arange(made.labels.shape[1]) < made.counts[:, None]
  np.testing.assert_array_equal(made.labels >= 0, present)
  np.testing.assert_array_equal((made.boxes[..., 2:] > 0).all(-1), present)
  expected = made.boxes[..., 2] / 28 if made is request.getfixturevalue('touching') else 1.0
  np.testing.assert_allclose(made.scales, np.where(present, expected, 0.0))
  assert (made.labels[~present] == -1).all() and not made.boxes[~present].any()
  assert not made.rotations.any() and not made.places.any()
  if name != 'gradient':
    assert not made.images[made.counts == 0].any()
  kinds = np.uint8, np.int32, np.float32, np.int32, np.float32, np.float32, np.uint16, np.float32
  assert tuple(field.dtype for field in made) == kinds
  assert made.images.shape[-1] == (3 if name == 'gradient' else 1)
  assert set(np.unique(made.segments)) <= set(range(made.labels.shape[1] + 1))


@pytest.mark.parametrize('name', ['many', 'touching', 'gradient'])
def test_scene_i_is_a_function_of_the_recipe_and_i_alone(request, name):
  config, glyphs = {
    'many': (MANY, digits.read(None, 'train')),
    'touching': (TOUCHING, samples.plain_glyphs(SHADES)),
    'gradient': (GRADIENT, None),
  }[name]
  whole = LabelledScenes(*(field[:600] for field in request.getfixturevalue(name)))
  first = samples.compose(config, glyphs, 100)
  second = samples.compose(config, glyphs, 600, start=100)
  assert_same(whole, [np.concatenate(pair) for pair in zip(first, second, strict=True)])
  lone = samples.compose(config, glyphs, 518, start=517)
  assert_same(lone, [field[517:518] for field in whole])
  # And each is another, as far as two objects leave no room for chance.
  full = whole.images[whole.counts >= 2]
  assert len({image.tobytes() for image in full}) == len(full) > 100


def test_scenes_are_those_of_earlier_versions():
  """If this fails for a reason, raise `composition.VERSION`: kept scenes must not be read."""
  glyphs = samples.plain_glyphs([0] * 3)
  pattern = np.arange(glyphs.images.size).reshape(glyphs.images.shape) * 37 % 251
  glyphs.images[:, 5:23, 7:19] = pattern[:, 5:23, 7:19]
  made = samples.compose(samples.data_config(min_objects=2), glyphs, 2)
  assert made.labels.tolist() == [[1, 0], [0, 1]]
  assert made.boxes[..., :2].tolist() == [[[2, 6], [24, 30]], [[14, 18], [29, 5]]]
  digests = [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in made.images]
  assert digests == ['db9509456e29dd9f', '0bf54ca6fd72e062']


def test_seeds_and_splits_have_scenes_of_their_own(gradient):
  keys = [
    composition.split_key(dataclasses.replace(CORNERS, seed=seed), split)
    for seed in (0, 1, 2**32 - 1)
    for split in ('train', 'test')
  ]
  assert len({np.asarray(jax.random.key_data(key)).tobytes() for key in keys}) == 6
  held_out = samples.compose(GRADIENT, None, 1000, 'test')
  known = {image.tobytes() for image in gradient.images}
  assert not known & {image.tobytes() for image in held_out.images}


def test_disjoint_boxes_hold_whole_digits_at_native_size_and_all_ink(many):
  cropped = {}
  for image, label in zip(*digits.read(None, 'train'), strict=True):
    rows, columns = np.nonzero(image)
    crop = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    cropped[crop.shape, crop.tobytes()] = label
  for image, count, boxes, labels in zip(
    many.images[..., 0], many.counts, many.boxes.astype(int), many.labels, strict=True
  ):
    outside = image.copy()
    for (top, left, height, width), label in zip(boxes[:count], labels, strict=False):
      crop = image[top : top + height, left : left + width]
      assert cropped[crop.shape, crop.tobytes()] == label
      outside[top : top + height, left : left + width] = 0
    assert not outside.any()


def test_disjoint_digits_are_drawn_evenly_with_replacement(many):
  known = np.bincount(digits.read(None, 'train').labels)
  seen = np.bincount(many.labels[many.labels >= 0])
  assert stats.chisquare(seen, known * seen.sum() / known.sum()).pvalue > 1e-3
  pairs = np.histogram2d(*many.labels[many.counts >= 2, :2].T, bins=10)[0]
  assert stats.chi2_contingency(pairs).pvalue > 1e-3


def test_disjoint_boxes_do_not_overlap(many):
  for boxes in many.boxes[many.counts >= 8]:
    assert sum(samples.mask(box, 100).astype(int) for box in boxes).max() <= 1


def test_segments_are_the_bright_pixels_in_the_box_of_each_object(many):
  for image, boxes, segments in zip(
    many.images[:200, ..., 0], many.boxes[:200], many.segments[:200], strict=True
  ):
    expected = sum((k + 1) * samples.mask(box, 100) for k, box in enumerate(boxes))
    np.testing.assert_array_equal(segments, np.where(image >= 64, expected, 0))


def test_disjoint_boxes_may_share_an_edge_on_any_side(corners):
  boxes = corners.boxes[corners.counts == 2]
  offsets = boxes[:, 1, :2] - boxes[:, 0, :2]
  assert (abs(offsets).max(1) == 10).all()  # there is no room to be further apart
  for axis in (0, 1):
    seen = offsets[abs(offsets[:, axis]) == 10]
    assert set(seen[:, axis]) == {-10, 10}
    assert seen[:, 1 - axis].min() < -8 and seen[:, 1 - axis].max() > 8


def test_touching_scenes_are_sums_of_shrunk_digits_that_stay_within_255(touching):
  overlapping = 0
  for image, count, boxes, labels, segments in zip(
    touching.images[..., 0],
    touching.counts,
    touching.boxes,
    touching.labels,
    touching.segments,
    strict=True,
  ):
    masks = [samples.mask(box, 46) for box in boxes[:count]]
    expected = sum((SHADES[k] * m for k, m in zip(labels, masks, strict=False)), np.zeros((46, 46)))
    np.testing.assert_array_equal(image, expected)
    overlapping += bool(masks) and sum(m.astype(int) for m in masks).max() > 1
    # A pixel is the brighter object's, of two alike the first one's.
    shades = [np.zeros((46, 46)), *(SHADES[k] * m for k, m in zip(labels, masks, strict=False))]
    np.testing.assert_array_equal(segments, np.argmax(shades, 0))
  assert touching.images.max() == 240
  assert overlapping > 100


def test_touching_digits_are_shrunk_by_a_normal_factor(touching):
  heights, sides = touching.boxes[touching.counts == 1, 0, 2:].astype(int).T
  np.testing.assert_array_equal(heights, sides)
  # A side is floor(28 / factor), at most 28; rare sides are put together.
  edges = np.array([np.inf, *(28 / np.arange(19, 26)), -np.inf])
  shares = -np.diff(stats.norm(1.3, 0.1).cdf(edges))
  seen = np.bincount(np.clip(sides, 18, 25) - 18, minlength=8)
  assert stats.chisquare(seen, shares * len(sides)).pvalue > 1e-3
  assert sides.max() <= 28


def test_touching_boxes_are_tight_around_ink_and_labels_are_right():
  glyphs = digits.read(None, 'test')
  glyphs = type(glyphs)(*(field[: len(SHADES)] for field in glyphs))
  # Shades tell the labels apart: the brightest pixel of a digit of label l is 20 l + 60.
  peaks = glyphs.images.max((1, 2), keepdims=True)
  shades = (20 * glyphs.labels + 60)[:, None, None]
  glyphs = glyphs._replace(images=np.round(glyphs.images / peaks * shades).astype(np.uint8))
  made = samples.compose(TOUCHING, glyphs, 1000)
  seen = set()
  for n in np.flatnonzero(made.counts == 1):
    box, label = made.boxes[n, 0], made.labels[n, 0]
    rows, columns, _ = np.nonzero(made.images[n])
    np.testing.assert_array_equal(box[:2], (rows.min(), columns.min()))
    np.testing.assert_array_equal(box[:2] + box[2:], (rows.max() + 1, columns.max() + 1))
    assert 0.7 * (20 * label + 60) < made.images[n].max() <= 20 * label + 60
    seen.add(label)
  assert seen == set(glyphs.labels) and len(seen) > 7


@pytest.mark.parametrize('name', ['touching', 'sizes'])
def test_positions_are_uniform_in_both_axes_and_independent(request, name):
  made = request.getfixturevalue(name)  # no borders: boxes tell where the digit was put
  corners, extents = np.split(made.boxes[made.counts == 1, 0], 2, axis=1)
  places = made.images.shape[1] - extents + 1
  # A corner is one of so many; spread over its pixel it is uniform in [0, 1).
  spread = (corners + np.random.default_rng(0).random(corners.shape)) / places
  assert spread.min() >= 0 and spread.max() <= 1
  for axis in (0, 1):
    assert stats.kstest(spread[:, axis], 'uniform').pvalue > 1e-3
  assert abs(np.corrcoef(spread.T)[0, 1]) * np.sqrt(len(spread)) < 4
  table = np.histogram2d(*spread.T, bins=5, range=[(0, 1), (0, 1)])[0]
  assert stats.chisquare(table.ravel()).pvalue > 1e-3


def test_scales_are_uniform_and_sizes_follow_them(sizes):
  scales, (heights, widths) = sizes.scales[:, 0], sizes.boxes[:, 0, 2:].T
  assert stats.kstest(scales, stats.uniform(0.5, 1).cdf).pvalue > 1e-3
  np.testing.assert_array_equal(widths, np.round(28 * scales))
  # The lower edge of the ink is smooth, and counted in where a sixteenth is left of it.
  glyph = Image.fromarray(
    np.where(np.arange(28)[:, None] < 20, np.full(28, 255), 0).astype(np.uint8)
  )
  for side in range(14, 43):
    edge = np.asarray(glyph.resize((side, side), Image.Resampling.BILINEAR))[:, 0].astype(int)
    assert abs(edge - 15.5).min() > 2  # no doubt what is counted in
    assert set(heights[widths == side]) == {(edge > 15).sum()}
  for image, box in zip(sizes.images[:200], sizes.boxes[:200, 0], strict=True):
    np.testing.assert_array_equal(image[..., 0] > 0, samples.mask(box, 50))
    assert image.max() == 255


def test_counts_to_draw_from_leave_out_the_others():
  # More than `max_objects`, for `counts` takes its place.
  config = samples.data_config(canvas_size=60, counts=(0, 3, 1))
  made = samples.compose(config, corner_glyphs(11), 300)
  found, times = np.unique(made.counts, return_counts=True)
  assert found.tolist() == [0, 1, 3]
  assert made.labels.shape == (300, 3)
  assert (np.count_nonzero(made.labels >= 0, axis=1) == made.counts).all()
  assert (abs(times - 100) < 4 * np.sqrt(300 * 2 / 9)).all()  # uniform, within four deviations


def test_objects_to_draw_that_do_not_fit_are_refused_by_name():
  config = samples.data_config(canvas_size=20, counts=(2,))
  with pytest.raises(UserError, match=r'data\.counts=\(2,\) disjoint objects do not fit'):
    samples.compose(config, corner_glyphs(11), 20)


@pytest.mark.parametrize('side', [11, 21])
def test_objects_that_do_not_fit_are_refused(side):
  # Two of 11 do not fit on 20, nor does one of 21.
  with pytest.raises(UserError, match=r'data\.max_objects=2 disjoint .* data\.canvas_size=20;'):
    samples.compose(CORNERS, corner_glyphs(side), 20)


def test_only_scenes_that_are_asked_for_can_be_refused(corners):
  lone = next(i for i in range(100) if (corners.counts[i : i + 2] == (1, 2)).all())
  glyphs = corner_glyphs(11)
  assert samples.compose(CORNERS, glyphs, lone + 1, start=lone).counts.tolist() == [1]
  with pytest.raises(UserError, match='do not fit'):
    samples.compose(CORNERS, glyphs, lone + 2, start=lone)


def test_glyphs_of_uneven_size_are_all_placed():
  """A large digit may find no room: its scene begins anew, with others, of the same count."""
  glyphs = corner_glyphs(5)
  glyphs.images[2, :16, :16] = 255  # never beside another
  made = samples.compose(CORNERS, glyphs, 2000)
  assert stats.chisquare(np.bincount(made.counts)).pvalue > 1e-3
  assert (made.labels[made.counts == 2] < 2).all()
  assert (made.labels[made.counts == 1] == 2).sum() > 100
