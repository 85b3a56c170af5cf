"""What is placed in scenes: shapes against geometry, colours, resizing against PIL."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
from PIL import Image
from scipy import stats

from air_jax.data import digits, objects

TURNED = samples.data_config(
  source='dsprites', background='grey', min_objects=1, min_scale=0.7, max_scale=1.3
)
# In units of the squared radius, which is 8 pixels at scale 1.
AREAS = {
  'circle': np.pi,
  'square': 1.7**2,
  'triangle': 0.75 * np.sqrt(3),
  'ellipse': 0.55 * np.pi,
  'heart': 0.58**2 * (4 + np.pi),  # a square and two half discs on its sides
}
SHAPES = [(source, name) for source, names in objects.SHAPES.items() for name in names]
SIDE = 31


@pytest.fixture(scope='module')
def turned():
  return samples.compose(TURNED, None, 1500)


@pytest.fixture(scope='module')
def drawn():
  """Objects of 2000 scenes of coloured sprites, three each."""
  config = samples.data_config(
    source='sprites', colour=True, max_objects=3, min_scale=0.7, max_scale=1.3
  )
  keys = jax.random.split(jax.random.key(0), 2000)
  return jax.tree.map(
    np.asarray, jax.jit(jax.vmap(lambda k: objects.sample(config, None, k)))(keys)
  )


@pytest.fixture(scope='module')
def render():
  """A function that draws shapes [B, SIDE, SIDE] in [0, 1] by the code under test."""
  names = tuple(name for _, name in SHAPES)
  draw = jax.jit(jax.vmap(lambda *which: objects._shape(names, SIDE, *which)))

  def render(name, scales, rotations):
    scales, rotations = np.broadcast_arrays(np.float32(scales), np.float32(rotations))
    ink = np.asarray(draw(jnp.full(scales.shape, names.index(name)), scales, rotations))
    np.testing.assert_array_equal(ink, ink.round())
    return ink / 255

  return render


def covers(name, x, y):
  """Whether a shape of radius 1, upright around the origin, covers a point; y points down."""
  if name == 'circle':
    return x**2 + y**2 < 1
  if name == 'square':
    return (abs(x) < 0.85) & (abs(y) < 0.85)
  if name == 'ellipse':
    return x**2 + (y / 0.55) ** 2 < 1
  if name == 'triangle':  # corners at the top, lower right and lower left of the unit circle
    corners = [(np.sin(a), -np.cos(a)) for a in 2 * np.pi / 3 * np.arange(3)]
    edges = zip(corners, corners[1:] + corners[:1], strict=True)
    sides = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for (ax, ay), (bx, by) in edges]
    return np.all(np.array(sides) > 0, axis=0)
  # The heart, turned back by an eighth: a square and half discs on its upper and its left side.
  u, v = (x + y) / np.sqrt(2), (y - x) / np.sqrt(2)
  discs = (u**2 + (v + 0.58) ** 2 < 0.58**2) | ((u + 0.58) ** 2 + v**2 < 0.58**2)
  return ((abs(u) < 0.58) & (abs(v) < 0.58)) | discs


def picture(name, scale, rotation, fine=8):
  """[SIDE, SIDE] share of each pixel that a shape covers, by counting points."""
  steps = ((np.arange(SIDE * fine) + 0.5) / fine - SIDE / 2) / (8 * scale)
  y, x = np.meshgrid(steps, steps, indexing='ij')
  # The shape turns clockwise: what was to the right of its centre comes to be below.
  cos, sin = np.cos(rotation), np.sin(rotation)
  points = covers(name, cos * x + sin * y, cos * y - sin * x)
  return points.reshape(SIDE, fine, SIDE, fine).mean((1, 3))


def crop(image):
  """The part of a picture in the box around what is not nearly 0."""
  rows, columns = np.nonzero(image >= 16 / 255)
  return image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def least_difference(a, b):
  """Mean absolute difference of two pictures, one put over the other as well as can be."""
  size = np.maximum(a.shape, b.shape) + 2
  first = np.pad(a, [(1, s - 1 - n) for s, n in zip(size, a.shape, strict=True)])
  return min(
    abs(first - np.pad(b, ((i, size[0] - b.shape[0] - i), (j, size[1] - b.shape[1] - j)))).mean()
    for i in range(size[0] - b.shape[0] + 1)
    for j in range(size[1] - b.shape[1] + 1)
  )


@pytest.mark.parametrize('name', [name for _, name in SHAPES])
def test_shape_has_its_area_at_any_size_and_angle(render, name):
  scales, rotations = np.random.default_rng(0).uniform((0.5, 0), (1.4, 2 * np.pi), (50, 2)).T
  areas = render(name, scales, rotations).sum((1, 2)) / (8 * scales) ** 2
  np.testing.assert_allclose(areas, AREAS[name], rtol=0.045)  # pixels may line up with edges
  np.testing.assert_allclose(areas.mean(), AREAS[name], rtol=0.01)


@pytest.mark.parametrize('name', [name for _, name in SHAPES])
def test_shape_is_the_picture_that_counting_points_gives(render, name):
  rotations = np.array([0, 0.3, 1.9, 3.6, 5.5])
  for ours, rotation in zip(render(name, 1.2, rotations), rotations, strict=True):
    difference = abs(ours - picture(name, 1.2, rotation))
    assert difference.max() < 0.35  # at a corner, whose edge is smooth over a pixel
    assert difference.mean() < 0.005


@pytest.mark.parametrize('name', [name for _, name in SHAPES])
def test_rotation_by_a_quarter_turns_the_picture_clockwise(render, name):
  rotations = 0.4 + np.pi / 2 * np.arange(4)
  pictures = render(name, 1.1, rotations)
  for k in range(4):
    np.testing.assert_allclose(pictures[k], np.rot90(pictures[0], -k), atol=1.01 / 255)
  if name not in ('circle', 'square'):
    assert abs(pictures[1] - pictures[0]).max() > 0.5


def test_labels_scales_and_rotations_of_a_scene_tell_what_is_in_it(turned):
  names = objects.SHAPES['dsprites']
  for n in range(150):
    image = turned.images[n, ..., 0].astype(float)
    boxes = turned.boxes[n, : turned.counts[n]].astype(int)
    clear = np.ones(image.shape, bool)
    for top, left, height, width in boxes:
      clear[top : top + height, left : left + width] = False
    level = np.median(image[clear])
    assert (image[clear] == level).all() and level <= 128
    shares = (image - level) / (255 - level)
    for k, (top, left, height, width) in enumerate(boxes):
      seen = shares[top : top + height, left : left + width]
      scale, rotation = turned.scales[n, k], turned.rotations[n, k]
      expected = [crop(picture(name, scale, rotation, fine=4)) for name in names]
      differences = [least_difference(seen, other) for other in expected]
      assert np.argmin(differences) == turned.labels[n, k]
      assert min(differences) < 0.03
      np.testing.assert_allclose(seen.shape, expected[turned.labels[n, k]].shape, atol=2)


def test_shapes_sizes_and_angles_are_uniform_and_independent(turned):
  present = turned.labels >= 0
  labels, scales, rotations = (
    field[present] for field in (turned.labels, turned.scales, turned.rotations)
  )
  assert stats.chisquare(np.bincount(labels, minlength=3)).pvalue > 1e-3
  assert stats.kstest(scales, stats.uniform(0.7, 0.6).cdf).pvalue > 1e-3
  assert stats.kstest(rotations, stats.uniform(0, 2 * np.pi).cdf).pvalue > 1e-3
  for a, b in ((labels, scales), (labels, rotations), (scales, rotations)):
    assert stats.spearmanr(a, b).pvalue > 1e-3
  for field in (turned.labels, turned.scales, turned.rotations):
    assert stats.spearmanr(*field[turned.counts == 2].T).pvalue > 1e-3


def test_sprites_are_upright_in_all_colours_sizes_and_shapes_alike(drawn):
  assert not drawn.rotations.any()
  colours = drawn.colours.reshape(-1, 3)
  known, seen = np.unique(colours, axis=0, return_counts=True)
  # All corners of the cube but black and white.
  expected = [c for c in np.ndindex(2, 2, 2) if 0 < sum(c) < 3]
  np.testing.assert_array_equal(known, expected)
  assert stats.chisquare(seen).pvalue > 1e-3
  assert stats.chisquare(np.bincount(drawn.labels.ravel())).pvalue > 1e-3
  assert stats.kstest(drawn.scales.ravel(), stats.uniform(0.7, 0.6).cdf).pvalue > 1e-3
  table = np.zeros((3, 8))
  np.add.at(table, (drawn.labels.ravel(), (colours @ (4, 2, 1)).astype(int)), 1)
  assert stats.chi2_contingency(table[:, 1:7]).pvalue > 1e-3
  assert stats.spearmanr(drawn.labels.ravel(), drawn.scales.ravel()).pvalue > 1e-3


def test_extents_are_those_of_the_ink(drawn):
  for ink, anchors, extents in zip(*(field[:100] for field in drawn[:1] + drawn[2:4]), strict=True):
    for picture, anchor, extent in zip(ink, anchors, extents, strict=True):
      where = np.argwhere(picture)
      np.testing.assert_array_equal(anchor, where.min(0))
      np.testing.assert_array_equal(anchor + extent, where.max(0) + 1)
      assert picture[picture > 0].min() >= 16


def test_bounds_of_nothing_are_empty():
  corner, size = objects.ink_bounds(jnp.zeros((5, 5)))
  assert not np.asarray(size).any() and not np.asarray(corner).any()


def test_resizing_is_what_pil_calls_bilinear():
  image = digits.read(None, 'test').images[0]
  sides = np.array([1, *range(12, 43)])
  images = jnp.asarray(np.broadcast_to(image, (len(sides), *image.shape)), jnp.float32)
  resized = np.asarray(jax.jit(lambda sides: objects._resize(images, sides, 42))(sides))
  for side, ours in zip(sides, resized, strict=True):
    theirs = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
    assert abs(ours[:side, :side] - theirs).max() <= 1
    assert not ours[side:].any() and not ours[:, side:].any()
