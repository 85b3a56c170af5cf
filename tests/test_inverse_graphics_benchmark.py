"""The benchmark of solids on a table: its table, and training with labels."""

import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from air_jax.errors import UserError
from air_jax.types import Pose
from benchmarks import inverse_graphics, supervised


@pytest.fixture(autouse=True)
def parsed():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])


def _run(way, seed, kind, scenes='several'):
  run = {'scenes': scenes, 'way': way, 'seed': seed, 'steps': 2000, 'count_accuracy': 1.0}
  return run | {'kind_accuracy': kind, 'place_error': 0.01, 'rotation_error': 2.0}


def test_a_row_has_the_mean_the_least_and_the_most_of_its_seeds():
  runs = [_run('labels_10', 0, 0.8), _run('derivatives', 1, 0.98), _run('derivatives', 0, 0.96)]
  runs.append({'scenes': 'one', 'way': 'derivatives', 'seed': 0, 'steps': 2000})
  rows = [line.split(' | ') for line in inverse_graphics.table(runs).split('\n')]
  assert [row[:2] for row in rows[2:]] == [
    ['| one', '`derivatives`'],
    ['| several', '`derivatives`'],
    ['| several', '`labels_10`'],
  ]
  assert rows[2][3:] == ['1', '-', '-', '-', '- |']
  assert rows[3][3:6] == ['2', '100.00 (100.00 to 100.00)', '97.00 (96.00 to 98.00)']
  assert rows[4][5:] == ['80.00', '0.0100', '2.00 |']


@pytest.mark.parametrize(('flag', 'value'), [('tables', 'many'), ('ways', 'labels_5')])
def test_unknown_tables_and_ways_are_refused(flag, value):
  with (
    flagsaver.flagsaver(**{flag: [value]}),
    pytest.raises(UserError, match=f"--{flag}: '{value}' is none of"),
  ):
    inverse_graphics.main.__wrapped__([])


# --- with labels ----------------------------------------------------------------------------------


def _scene(count):
  """A cube, a sphere and a cylinder, of which some are there."""
  return supervised.Labelled(
    image=jnp.zeros((4, 4, 1), jnp.uint8),
    count=jnp.array(count),
    kinds=jnp.arange(3),
    places=jnp.float32([[0.5, 0.5], [-0.5, 0.0], [0.3, -0.5]]),
    rotations=jnp.float32([0.3, 0.0, 0.0]),
    sizes=jnp.float32([0.2, 0.25, 0.3]),
  )


def _pose(scene, order, turn=0.0, shift=0.0):
  order = np.array(order)
  return Pose(
    kinds=jnp.eye(3)[scene.kinds[order]],
    place=scene.places[order] + jnp.float32([shift, 0.0]),
    rotation=scene.rotations[order] + turn,
    size=scene.sizes[order],
    colour=jnp.ones((len(order), 1)),
  )


def test_what_is_found_may_be_in_any_order_and_turned_by_a_quarter():
  scene = _scene(3)
  for order in ([0, 1, 2], [2, 0, 1]):
    found = _pose(scene, order, turn=np.pi / 2)
    assert supervised._of_poses(found, scene) == pytest.approx(0.0, abs=1e-4)


def test_errors_of_objects_that_are_there_add_up():
  cost = supervised._of_poses
  for count in (0, 1, 3):
    scene = _scene(count)
    moved = cost(_pose(scene, [0, 1, 2], shift=0.1), scene)
    assert moved == pytest.approx(0.5 * count, abs=1e-4)
  turned = cost(_pose(_scene(3), [0, 1, 2], turn=np.pi / 4), _scene(3))
  assert turned == pytest.approx(2.0, abs=1e-4)  # of the cube alone
  scene = _scene(1)
  unsure = _pose(scene, [0, 1, 2])._replace(kinds=jnp.full((3, 3), 1 / 3))
  assert cost(unsure, scene) == pytest.approx(np.log(3), abs=1e-4)


def test_no_true_object_is_compared_twice():
  """The second found object is where the first true one is, and is compared with the other."""
  scene = _scene(2)
  found = _pose(scene, [0, 0, 1])
  offsets = [1.0, 0.5, -0.05]  # x, y and size
  expected = 0.5 * np.square(offsets).sum() / 0.1**2 - np.log(1e-6)  # of another kind, too
  assert supervised._of_poses(found, scene) == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_a_run_of_each_way_is_tested(tmp_path, monkeypatch, scene_cache):
  from air_jax.configs import inverse_graphics as configuration

  config = configuration.get_config()
  config.data.update(cache_dir=scene_cache, train_scenes=64, canvas_size=24)
  config.model.update(glimpse_size=8, patch_size=4)
  config.train.update(batch_size=8)
  monkeypatch.setattr(configuration, 'get_config', config.copy_and_resolve_references)
  monkeypatch.setattr(inverse_graphics, '_TEST_SCENES', 16)
  ways = 'derivatives', 'labels_100'
  with flagsaver.flagsaver(folder=str(tmp_path), kept=''):
    for way in ways:
      inverse_graphics._run(f'one/{way}/0/2')
    results = inverse_graphics._BENCHMARK.results()
  assert [result['way'] for result in results] == [*ways]
  for result in results:
    assert result['images'] == 16 and 0 <= result['count_accuracy'] <= 1
  figure = inverse_graphics.found(tmp_path / 'one/derivatives/0/2/run')
  texts = [text.get_text() for text in figure.axes[0].texts]
  assert {'input', 'rendered', 'from above'} <= {*texts}
