"""Scenes of solids on a table: their truth against the pictures, and where solids may stand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
from scipy import stats

from air_jax import scene3d
from air_jax.data import loading
from air_jax.errors import UserError

SIDE, TABLE = 32, 0.1
CONFIG = samples.data_config(
  source='table_primitives', layout='occluding', canvas_size=SIDE, max_objects=3, colour=True,
  background='dim', min_scale=0.8, max_scale=1.2, train_scenes=64,
)  # fmt: skip


@pytest.fixture(scope='module')
def scenes():
  return samples.compose(CONFIG, None, 768)


def solids_of(scenes, i):
  """The objects of a scene by its truth alone, white."""
  count = scenes.counts[i]
  rows = (field[i, :count] for field in (scenes.labels, scenes.places, scenes.rotations))
  sizes = scene3d.SIZE * scenes.scales[i, :count]
  return scene3d.Solids(*map(jnp.asarray, rows), jnp.asarray(sizes), jnp.ones((count, 1)))


@pytest.fixture(scope='module')
def render():
  """A scene's picture with one ray for each pixel of four times as many, made coarse again."""
  picture = jax.jit(lambda solids: scene3d.render(solids, scene3d.View(4 * SIDE, 0.0), 0.0))

  def rendered(solids):
    fine = np.asarray(picture(solids))[..., 0]
    return fine.reshape(SIDE, 4, SIDE, 4).mean((1, 3))

  return rendered


def test_the_truth_of_a_scene_makes_its_picture_again(scenes, render):
  full = np.flatnonzero(scenes.counts == 3)[:8]
  for i in full:
    # The brightest channel of each of the six colours is that of a white solid.
    covered = scenes.segments[i] > 0
    seen = scenes.images[i].max(-1) / 255
    away = np.abs(seen - render(solids_of(scenes, i)))[covered]
    assert np.median(away) < 0.01 and (away > 0.1).mean() < 0.1
    alone = scenes.images[i][~covered]
    assert np.median(np.abs(alone - 255 * TABLE)) < 1


def test_segments_and_boxes_are_those_of_each_object(scenes, render):
  for i in np.flatnonzero(scenes.counts == 2)[:8]:
    solids = solids_of(scenes, i)
    for k in range(2):
      alone = render(jax.tree.map(lambda x, k=k: x[k : k + 1], solids)) > 0
      rows, columns = np.nonzero(alone)
      top, left, height, width = scenes.boxes[i, k]
      expected = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
      assert np.abs(np.subtract([top, left, top + height, left + width], expected)).max() <= 1
      mine = scenes.segments[i] == k + 1
      assert (mine <= alone).all() and 0.2 * alone.sum() < mine.sum()


def test_nothing_reaches_into_another_or_beyond_the_table(scenes):
  full = scenes.counts == 3
  radii = scene3d.SIZE * scenes.scales * np.where(scenes.labels == 0, 2**0.5, 1.0)
  reach = np.abs(scenes.places).max(-1) + radii
  assert reach[scenes.labels >= 0].max() <= 1 + 1e-5 and reach[full].max() > 0.97
  for a, b in ((0, 1), (0, 2), (1, 2)):
    distance = np.linalg.norm(scenes.places[full, a] - scenes.places[full, b], axis=-1)
    assert (distance >= radii[full, a] + radii[full, b] - 1e-5).all()


def test_kinds_sizes_and_turns_are_uniform_and_absent_objects_blank(scenes):
  present = scenes.labels >= 0
  np.testing.assert_array_equal(present.sum(1), scenes.counts)
  assert stats.chisquare(np.bincount(scenes.counts)).pvalue > 1e-3
  one = scenes.counts == 1  # of more, large ones are refused more often
  assert stats.chisquare(np.bincount(scenes.labels[one, 0])).pvalue > 1e-3
  for values, low, width in (
    (scenes.scales[one, 0], 0.8, 0.4),
    (scenes.rotations[one, 0], 0, 2 * np.pi),
  ):
    assert stats.kstest(values, stats.uniform(low, width).cdf).pvalue > 1e-3
  for field in (scenes.boxes, scenes.scales, scenes.rotations, scenes.places):
    assert not field[~present].any()


def test_splits_differ(scenes):
  other = samples.compose(CONFIG, None, 64, 'test')
  assert (other.places != scenes.places[:64]).any()


def test_grey_scenes_are_kept_and_found_again(tmp_path):
  grey = samples.data_config(
    source='table_primitives', layout='occluding', canvas_size=SIDE, test_scenes=16,
    cache_dir=str(tmp_path),
  )  # fmt: skip
  first = loading.load(grey, 'test')
  assert first.images.shape == (16, SIDE, SIDE, 1)
  (path,) = tmp_path.iterdir()
  changed = path.stat().st_mtime_ns
  for a, b in zip(first, loading.load(grey, 'test'), strict=True):
    np.testing.assert_array_equal(a, b)
  assert path.stat().st_mtime_ns == changed


def test_too_large_objects_are_refused_naming_the_table():
  large = samples.data_config(
    source='table_primitives', layout='occluding', canvas_size=8, min_objects=2,
    min_scale=3.0, max_scale=3.0,
  )  # fmt: skip
  with pytest.raises(UserError, match=r'max_objects=2 .* do not fit on the table; take fewer or'):
    samples.compose(large, None, 8)
