"""Solids found on a table compared with the true ones."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from air_jax import scene3d
from air_jax.evaluation import poses
from air_jax.inference import file_results
from air_jax.types import LabelledScenes, Pose
from air_jax.viz import table_top

CUBE, SPHERE, CYLINDER = range(3)


def truth():
  """An image with a cube and a sphere, an empty one, and one with a cylinder."""
  places = np.zeros((3, 2, 2), np.float32)
  places[0] = [[0.5, 0.0], [-0.5, 0.2]]
  places[2, 0] = [0.0, 0.4]
  return LabelledScenes(
    images=np.zeros((3, 4, 4, 1), np.uint8),
    counts=np.array([2, 0, 1]),
    boxes=np.zeros((3, 2, 4)),
    labels=np.array([[CUBE, SPHERE], [-1, -1], [CYLINDER, -1]]),
    scales=np.ones((3, 2)),
    rotations=np.radians([[80.0, 200.0], [0, 0], [10.0, 0]]),
    segments=np.zeros((3, 0, 0), np.uint16),
    places=places,
  )


def found(kinds, places, rotations):
  kinds = np.eye(3)[kinds]
  shape = kinds.shape[:2]
  return Pose(
    kinds, np.float32(places), np.radians(rotations), np.full(shape, 0.26), np.ones((*shape, 1))
  )


@pytest.fixture
def seen():
  """In another order, the cube 3 degrees and a quarter of a turn off, and taken for a cylinder."""
  return found(
    [[SPHERE, CYLINDER], [CUBE, CUBE], [CYLINDER, CUBE]],
    [[[-0.5, 0.1], [0.5, 0.0]], [[0, 0], [0, 0]], [[0.3, 0.4], [0.0, 0.4]]],
    [[0.0, -13.0], [0, 0], [0, 0]],
  )


def test_pairs_are_the_nearest_and_only_those_present(seen):
  images, true, matched = poses.match(seen, np.array([2, 1, 1]), truth())
  assert images.tolist() == [0, 0, 2]
  assert true.tolist() == [0, 1, 0] and matched.tolist() == [1, 0, 0]


def test_summary_of_an_example(seen):
  summary = poses.summary(seen, np.array([2, 1, 1]), truth())
  assert summary['kind_accuracy'] == pytest.approx(2 / 3)
  # x and y of three pairs: 0, 0; 0, .1; .3, 0
  assert summary['place_error'] == pytest.approx(0.4 / 6 / 2)
  assert summary['rotation_error'] == pytest.approx(3.0)
  json.dumps(summary)


def test_nothing_is_said_where_nothing_is_known_or_found(seen):
  scenes = truth()
  assert poses.summary(seen, np.zeros(3, int), scenes) == {}
  unknown = scenes._replace(places=np.zeros((3, 2, 2)))
  assert poses.summary(seen, np.array([2, 1, 1]), unknown) == {}
  round_ = poses.summary(seen, np.array([0, 0, 1]), scenes)
  assert round_.keys() == {'kind_accuracy', 'place_error'}


@pytest.mark.parametrize(
  ('found', 'true', 'error'), [(0, 45, 45), (1, 89, 2), (-100, 80, 0), (30, 10, 20)]
)
def test_rotations_of_cubes_are_compared_up_to_a_quarter_turn(found, true, error):
  angles = np.radians([found]), np.radians([true])
  assert poses.rotation_errors(*angles, np.array([CUBE])) == pytest.approx([error], abs=1e-6)
  assert np.isnan(poses.rotation_errors(*angles, np.array([SPHERE]))).all()


def test_symmetries_are_those_of_the_pictures():
  for kind, times in enumerate(scene3d.SYMMETRIES):
    view = scene3d.View(32, 0.04)

    def seen(turn, kind=kind, view=view):
      return scene3d.cast(jnp.array(kind), jnp.zeros(2), jnp.float32(turn), jnp.float32(0.3), view)

    turn = 2 * np.pi / times if times else 1.0
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), seen(0.2), seen(0.2 + turn)
    )


def test_entries_of_a_file(seen):
  first = jax.tree.map(lambda x: x[0], seen)
  sphere, cylinder = file_results.solids(first)
  assert sphere['kind'] == 'sphere' and sphere['rotation'] is None and sphere['kind_prob'] == 1
  assert cylinder['place'] == [0.5, 0.0] and cylinder['size'] == pytest.approx(0.26)
  cube = file_results.solids(
    jax.tree.map(lambda x: x[1], found([[0]] * 2, [[[0, 0]]] * 2, [[0], [-13.0]]))
  )
  assert cube[0]['rotation'] == pytest.approx(77)
  json.dumps([sphere, cylinder, cube])


def test_a_table_from_above_shows_true_and_found_solids(seen):
  axes = Figure().add_axes((0, 0, 1, 1))
  true = table_top.true_solids(truth(), 0)
  table_top.draw(axes, true, table_top.found_solids(jax.tree.map(lambda x: x[0], seen)))
  table, *shapes = axes.patches
  square = shapes[0].get_xy()[:4] - [0.5, 0.0]
  assert np.linalg.norm(square, axis=1) == pytest.approx(4 * [0.26 * 2**0.5])
  assert len(shapes) == 1 + 2 + 2 + 2  # a square, and two circles of each round one
  filled = [patch.get_fill() for patch in shapes]
  assert filled == 3 * [True] + 4 * [False]
