"""Training on arrays in memory, in one call."""

import jax
import numpy as np
import pytest

import air_jax
from air_jax.errors import UserError


def squares(number):
  """Images of 20 pixels with 0 to 2 bright squares of 5."""
  rng = np.random.default_rng(0)
  images, counts = np.zeros((number, 20, 20), np.float32), rng.integers(0, 3, number)
  for image, count in zip(images, counts, strict=True):
    for row in rng.permutation([1, 13])[:count]:
      column = rng.integers(0, 15)
      image[row : row + 5, column : column + 5] = 1.0
  return images, counts


SMALL = {
  'object_size': 5,
  'objective__name': 'exact',
  'model__patch_rounds': 0,
  'model__cell_size': 16,
  'model__code_size': 4,
  'model__glimpse_size': 6,
  **{
    f'model__{part}_sizes': (16,)
    for part in ('encoder', 'presence', 'location', 'glimpse_encoder', 'glimpse_decoder')
  },
}


@pytest.mark.slow
def test_arrays_in_memory_are_fitted_saved_and_loaded(tmp_path):
  images, counts = squares(200)
  records = []

  class Tracker(air_jax.Callback):
    def on_metrics(self, record):
      records.append(record)

  model = air_jax.fit(
    images, max_objects=2, counts=counts, steps=30, callbacks=[Tracker()], **SMALL
  )
  assert model.step == 30 and records[-1].split == 'test'
  assert 'count_accuracy' in records[-1].scalars
  assert model.config.model.size_prior_mean == pytest.approx(4 / 3 * 5 / 20)
  found = model.parse(images[:8])
  in_folder = air_jax.fit(
    images, max_objects=2, counts=counts, steps=30, workdir=tmp_path / 'run', **SMALL
  )
  jax.tree.map(np.testing.assert_array_equal, in_folder.params, model.params)
  assert (tmp_path / 'run' / 'figures').is_dir()
  model.save(tmp_path / 'kept')
  again = air_jax.load(tmp_path / 'kept')
  assert again.step == 30 and repr(again) == repr(model)
  for ours, theirs in zip(*map(jax.tree.leaves, (again.parse(images[:8]), found)), strict=True):
    np.testing.assert_array_equal(ours, theirs)
  with pytest.raises(UserError, match='holds a run already'):
    model.save(tmp_path / 'kept')


@pytest.mark.parametrize(
  ('images', 'changes', 'says'),
  (
    (np.zeros((9, 8)), {}, r'shape \[9, 8\]'),
    (np.zeros((9, 8, 7)), {}, 'square'),
    (np.full((9, 8, 8), 2.0), {}, r'\[0, 1\]'),
    (np.full((9, 8, 8), np.nan), {}, r'\[nan, nan\]; floats must be finite'),
    (np.zeros((9, 8, 8), np.int64), {}, 'int64'),
    (np.zeros((90, 8, 8)), {'max_objects': 0}, 'max_objects=0 is not allowed'),
    (np.zeros((90, 8, 8)), {'object_size': 9}, r'object_size=9 is not allowed; .*\(0, 8\) pixels'),
    (np.zeros((90, 8, 8)), {'train__bach_size': 9}, "no argument 'train__bach_size'"),
  ),
)
def test_arrays_that_cannot_be_fitted_are_refused_without_a_word_of_flags(images, changes, says):
  with pytest.raises(UserError, match=says) as caught:
    air_jax.fit(images, **{'max_objects': 1} | changes)
  assert '--' not in str(caught.value)
