"""Checkpoints: what is kept comes back bit by bit, or not at all."""

import errno
import gc
import math
import os
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from air_jax.errors import UserError
from air_jax.storage import checkpoint_reader, checkpoints
from air_jax.storage.checkpoint_reader import digest
from air_jax.storage.checkpoints import Checkpoints
from air_jax.training.train_step import TrainState

# Where a file is broken, orbax abandons its readers of the others, which complain as they go.
pytestmark = pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')


@pytest.fixture(autouse=True)
def let_go_of_abandoned_readers():
  yield
  gc.collect()


def make_state(step):
  """A state with what orbax finds hard: optax tuples, scalars, values that depend on the step."""
  key = jax.random.fold_in(jax.random.key(0), step)
  params = {
    'cell': {'kernel': jax.random.normal(key, (40, 30)), 'bias': jnp.full(30, float(step))},
    'baseline_net': [jnp.arange(5.0) - step],
  }
  opt_state = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)).init(params)
  opt_state = jax.tree.map(lambda x: x + step, opt_state)
  return TrainState(
    jnp.asarray(step, jnp.int32), params, params, opt_state, {'mean': jnp.float32(step)}
  )


def assert_identical(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y)
    assert x.dtype == y.dtype and np.shape(x) == np.shape(y)


def restore(folder, keep=3):
  with Checkpoints(folder, keep) as checkpoints:
    return checkpoints.restore(make_state(0))


def steps_in(folder):
  return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A folder with sound checkpoints of steps 5 and 10; tests work on copies."""
  folder = tmp_path_factory.mktemp('saved') / 'checkpoints'
  with Checkpoints(folder, 3) as checkpoints:
    for step in (5, 10):
      checkpoints.save(step, make_state(step))
  return folder


@pytest.fixture
def folder(saved, tmp_path):
  return shutil.copytree(saved, tmp_path / 'checkpoints')


def files_of(step_folder):
  return sorted(path for path in step_folder.rglob('*') if path.is_file())


def largest(step_folder):
  return max(files_of(step_folder), key=lambda path: path.stat().st_size)


def flip_a_byte(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 0x10
  path.write_bytes(content)


def zero(path):
  path.write_bytes(bytes(path.stat().st_size))


def truncate(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_newest_comes_back_bit_by_bit(saved):
  step, state = restore(saved)
  assert step == 10
  assert_identical(state, make_state(10))


def test_abstract_target_is_enough(saved):
  target = jax.eval_shape(lambda: make_state(0))
  with Checkpoints(saved, 3) as checkpoints:
    step, state = checkpoints.restore(target)
  assert step == 10
  assert_identical(state, make_state(10))


def test_a_part_of_the_state_is_enough_and_a_part_of_a_part_is_not(saved):
  whole = make_state(10)
  target = jax.eval_shape(lambda: {'step': whole.step, 'average': whole.average})
  with Checkpoints(saved, 3) as checkpoints:
    step, part = checkpoints.restore(target)
    assert step == 10
    assert_identical(part, {'step': whole.step, 'average': whole.average})
    del target['average']['baseline_net']
    with pytest.raises(UserError, match='are of another model'):
      checkpoints.restore(target)


def test_nothing_saved_is_nothing_restored(tmp_path):
  assert restore(tmp_path / 'new') is None


def test_only_the_newest_are_kept(tmp_path):
  with Checkpoints(tmp_path, 2) as checkpoints:
    for step in (1, 2, 4, 7):
      checkpoints.save(step, make_state(step))
  assert steps_in(tmp_path) == [4, 7]
  assert restore(tmp_path)[0] == 7


def test_multiples_and_the_best_are_kept_beside_the_newest(tmp_path):
  bounds = {10: 1.0, 15: 9.0, 20: -math.inf, 25: 3.0, 30: 2.0, 35: 8.0, 40: -math.inf, 45: 0.0}
  for step, bound in bounds.items():  # each by another process, as it were
    with Checkpoints(tmp_path, 1, every=20, best=2) as checkpoints:
      checkpoints.save(step, make_state(step), bound)
  assert steps_in(tmp_path) == [15, 20, 35, 40, 45]
  assert restore(tmp_path)[0] == 45


@pytest.mark.parametrize('damage', [truncate, flip_a_byte, pathlib.Path.unlink])
def test_damaged_bound_costs_no_more_than_the_bound(tmp_path, damage):
  with Checkpoints(tmp_path, 1, best=1) as checkpoints:
    checkpoints.save(5, make_state(5), 9.0)
    checkpoints.save(10, make_state(10), 8.0)
  damage(tmp_path / '5' / 'metrics' / 'metrics')
  with Checkpoints(tmp_path, 1, best=1) as checkpoints:
    step, state = checkpoints.restore(make_state(0))
    checkpoints.save(15, make_state(15), 7.0)
  assert step == 10
  assert_identical(state, make_state(10))
  assert {10, 15} <= set(steps_in(tmp_path))


def test_checkpoint_is_on_disk_when_save_returns(tmp_path):
  with Checkpoints(tmp_path / 'checkpoints', 3) as checkpoints:
    checkpoints.save(3, make_state(3))
    copy = shutil.copytree(tmp_path / 'checkpoints', tmp_path / 'copy')
  assert_identical(restore(copy)[1], make_state(3))


DAMAGES = {
  'a byte flipped': lambda step: flip_a_byte(largest(step)),
  'truncated': lambda step: truncate(largest(step)),
  'zeroed': lambda step: zero(largest(step)),
  'a file deleted': lambda step: largest(step).unlink(),
  'state deleted': lambda step: shutil.rmtree(step / 'state'),
  'digest deleted': lambda step: shutil.rmtree(step / 'digest'),
  'emptied': lambda step: (shutil.rmtree(step), step.mkdir()),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_damaged_newest_is_set_aside_and_the_one_before_is_used(folder, damage, caplog):
  DAMAGES[damage](folder / '10')
  step, state = restore(folder)
  assert step == 5
  assert_identical(state, make_state(5))
  assert 'checkpoint 10 is damaged' in caplog.text
  (aside,) = folder.glob('damaged-10-*')
  assert str(aside) in caplog.text
  assert steps_in(folder) == [5]


def test_step_that_was_set_aside_can_be_saved_again(folder, caplog):
  for _ in range(2):
    flip_a_byte(largest(folder / '10'))
    with Checkpoints(folder, 3) as checkpoints:
      assert checkpoints.restore(make_state(0))[0] == 5
      checkpoints.save(10, make_state(10))
    assert steps_in(folder) == [5, 10]
    assert_identical(restore(folder)[1], make_state(10))
  assert len(list(folder.glob('damaged-10-*'))) == 2
  assert caplog.text.count('is damaged') == 2


@pytest.mark.parametrize('damage', [truncate, zero, flip_a_byte, pathlib.Path.unlink])
def test_no_damaged_file_gives_wrong_values(saved, tmp_path, damage):
  fallen_back = 0
  for i, place in enumerate(path.relative_to(saved) for path in files_of(saved / '10')):
    folder = shutil.copytree(saved, tmp_path / str(i))
    damage(folder / place)
    step, state = restore(folder)
    assert_identical(state, make_state(step))  # some files are not needed to restore
    fallen_back += step == 5
  assert fallen_back >= 3


def test_all_damaged_is_an_error_that_moves_nothing(folder):
  for step in (5, 10):
    flip_a_byte(largest(folder / str(step)))
  with pytest.raises(UserError, match=r'every checkpoint in .*checkpoints is damaged'):
    restore(folder)
  assert steps_in(folder) == [5, 10]


def test_who_may_only_read_leaves_what_is_damaged_where_it_is(folder, caplog, monkeypatch):
  flip_a_byte(largest(folder / '10'))

  def refuse(*_):
    raise PermissionError(errno.EACCES, 'Permission denied')

  monkeypatch.setattr(pathlib.Path, 'rename', refuse)
  assert restore(folder)[0] == 5
  assert 'checkpoint 10 is damaged: not moved, Permission denied, using that of 5' in caplog.text
  assert steps_in(folder) == [5, 10]


def test_what_only_reads_a_run_moves_nothing(folder, caplog):
  flip_a_byte(largest(folder / '10'))
  before = {path: path.read_bytes() for path in files_of(folder)}
  step, state = checkpoints.restore_run(folder.parent, make_state(0))
  assert step == 5
  assert_identical(state, make_state(5))
  assert 'checkpoint 10 is damaged: using that of 5' in caplog.text
  assert {path: path.read_bytes() for path in files_of(folder)} == before


@pytest.mark.parametrize('reading', ['restore_run', 'restore'])
def test_a_file_that_may_not_be_read_is_not_called_damaged(folder, monkeypatch, reading):
  (hidden := largest(folder / '10')).unlink()  # what may not be read fails as what is not there
  access = os.access
  monkeypatch.setattr(os, 'access', lambda path, mode: path != str(hidden) and access(path, mode))
  hidden.touch()
  with pytest.raises(UserError, match=r'checkpoint 10 in .* may not be read; ask its owner'):
    restore(folder) if reading == 'restore' else checkpoints.restore_run(
      folder.parent, make_state(0)
    )
  assert steps_in(folder) == [5, 10]


def test_a_checkpoint_under_the_name_of_another_step_is_not_used(folder):
  (folder / '10').rename(folder / '15')
  assert restore(folder)[0] == 5
  assert steps_in(folder) == [5]


def test_who_reads_while_another_trains_gets_the_one_that_replaced_it(tmp_path, monkeypatch):
  read = checkpoint_reader.read

  def too_late(folder, step):
    if step == 5:
      writer.save(10, make_state(10))
      assert steps_in(tmp_path) == [10]
    return read(folder, step)

  with Checkpoints(tmp_path, 1) as writer:
    writer.save(5, make_state(5))
    with Checkpoints(tmp_path, 1) as reader:
      monkeypatch.setattr(checkpoint_reader, 'read', too_late)
      step, state = reader.restore(make_state(0))
  assert step == 10
  assert_identical(state, make_state(10))
  assert steps_in(tmp_path) == [10]


def test_who_reads_while_another_trains_misses_no_bound_that_is_deleted(tmp_path, monkeypatch):
  for step in (5, 10):
    with Checkpoints(tmp_path, 1, best=2) as checkpoints:
      checkpoints.save(step, make_state(step), float(step))
  read_text, deleted = pathlib.Path.read_text, []

  def read_too_late(path, *args):
    if path.name == 'metrics' and path.parts[-3] == '5' and not deleted:
      deleted.append(shutil.rmtree(tmp_path / '5'))
    return read_text(path, *args)

  monkeypatch.setattr(pathlib.Path, 'read_text', read_too_late)
  assert restore(tmp_path)[0] == 10 and deleted


@pytest.mark.parametrize('size', [1, 3])
def test_states_of_other_populations_are_not_restored(tmp_path, size):
  def members(number):
    return jax.tree.map(lambda x: jnp.stack([x] * number), make_state(1))

  with Checkpoints(tmp_path, 1) as checkpoints:
    checkpoints.save(1, members(2))
    assert_identical(checkpoints.restore(members(2))[1], members(2))
    with pytest.raises(UserError, match='are of another model than its configuration describes'):
      checkpoints.restore(members(size))


def test_state_of_another_shape_is_not_restored_nor_called_damaged(folder):
  target = make_state(0)
  target.params['cell']['kernel'] = jnp.zeros((40, 31))
  says = 'checkpoints are of another model than its configuration describes'
  with Checkpoints(folder, 3) as checkpoints, pytest.raises(UserError, match=says):
    checkpoints.restore(target)
  assert steps_in(folder) == [5, 10]


def test_digest_tells_values_names_shapes_and_types_apart():
  def ones(**changes):
    return {'a': np.ones((2, 3), np.float32), 'b': np.zeros(2, np.float32)} | changes

  trees = [
    ones(),
    ones(a=np.ones((3, 2), np.float32)),
    ones(a=np.ones((2, 3), np.int32).view(np.float32)),
    ones(a=np.ones((2, 3), np.float32).view(np.int32)),
    ones(b=np.array([0.0, -0.0], np.float32)),
    {'a': ones()['a'], 'c': ones()['b']},
    {'a': ones()['a']},
  ]
  assert len({digest(tree) for tree in trees}) == len(trees)
  assert digest(ones()) == digest(jax.tree.map(jnp.asarray, ones()))


def test_folder_may_be_relative(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with Checkpoints(pathlib.Path('here'), 3) as checkpoints:
    checkpoints.save(1, make_state(1))
  assert restore(tmp_path / 'here')[0] == 1
