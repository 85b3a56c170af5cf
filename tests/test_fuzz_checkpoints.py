"""A damaged checkpoint is never used: the one before it is, or it is refused with a `UserError`."""

import gc
import json
import shutil

import jax
import jax.numpy as jnp
import mutations
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from air_jax.errors import UserError
from air_jax.storage import checkpoint_reader
from air_jax.storage.checkpoints import Checkpoints

# Where a file is broken, orbax abandons its readers of the others, which complain as they go.
pytestmark = pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')


def state(step):
  return {
    'step': jnp.asarray(step, jnp.int32),
    'params': {'cell': {'kernel': jnp.arange(12.0).reshape(3, 4) + step, 'bias': jnp.ones(4)}},
  }


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A folder with sound checkpoints of steps 5 and 10, and the files of the second."""
  folder = tmp_path_factory.mktemp('saved') / 'checkpoints'
  with Checkpoints(folder, 3, best=1) as checkpoints:
    for step in (5, 10):
      checkpoints.save(step, state(step), -1.0 * step)
  newest = folder / '10'
  files = sorted(path for path in newest.rglob('*') if path.is_file())
  return folder, {str(path.relative_to(newest)): path.read_bytes() for path in files}


def damaged_copy(saved, folder, draw):
  """A copy of the saved folder in which a file of the newest checkpoint is damaged."""
  whole, files = saved
  copy = folder / 'copy'
  shutil.copytree(whole, copy, dirs_exist_ok=True)  # of an example that failed
  name = draw(st.sampled_from([*files]))
  try:
    damaged = mutations.damaged_document(json.loads(files[name]))
  except ValueError:
    damaged = mutations.damaged_bytes(files[name])
  (copy / '10' / name).write_bytes(draw(damaged))
  return copy


def assert_sound(found):
  """Checks that what was restored is what was saved, to the last bit."""
  expected = state(found[0])
  assert jax.tree.structure(found[1]) == jax.tree.structure(expected)
  for x, y in zip(jax.tree.leaves(found[1]), jax.tree.leaves(expected), strict=True):
    np.testing.assert_array_equal(x, y, strict=True)


@pytest.fixture(autouse=True)
def let_go_of_abandoned_readers():
  yield
  gc.collect()


@mutations.examples(10)
@given(st.data())
def test_a_damaged_checkpoint(saved, tmp_path, data):
  copy = damaged_copy(saved, tmp_path, data.draw)
  found = checkpoint_reader.restore(copy, state(0))
  assert found.step in (5, 10)
  assert_sound(found)
  shutil.rmtree(copy / '5')
  try:
    found = checkpoint_reader.restore(copy, state(0))
    assert found.step == 10
    assert_sound(found)
  except UserError as error:
    assert '\n' not in str(error)
  shutil.rmtree(copy)


@mutations.examples(20)
@given(st.data())
def test_training_goes_on_from_a_damaged_checkpoint(saved, tmp_path, data):
  """Orbax opens the folder too, and decides by the bounds there what to keep."""
  copy = damaged_copy(saved, tmp_path, data.draw)
  best = data.draw(st.sampled_from([0, 1]))
  with Checkpoints(copy, 2, best=best) as checkpoints:
    assert_sound(checkpoints.restore(state(0)))
    checkpoints.save(15, state(15), -2.0)
  found = checkpoint_reader.restore(copy, state(0))
  assert found.step == 15
  assert_sound(found)
  shutil.rmtree(copy)
