"""Batches: from memory, and composed for the step they are used in."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
import samples
from scipy import stats

from air_jax.data import batches
from air_jax.errors import UserError
from air_jax.types import LabelledScenes

CONFIG = samples.data_config(canvas_size=20, min_objects=1, max_objects=3)
BATCH = 64


def small_glyphs():
  glyphs = samples.plain_glyphs([255])
  glyphs.images[:, 4:] = glyphs.images[:, :, 4:] = 0
  return glyphs


def make_scenes(counts):
  """Scenes whose pixels tell which they are."""
  size = len(counts)
  images = np.broadcast_to(np.arange(size, dtype=np.uint8)[:, None, None, None], (size, 2, 3, 1))
  return LabelledScenes(images, np.asarray(counts, np.int32), *(None for _ in range(6)))


@pytest.fixture(scope='module')
def make_online():
  def make(seed):
    source = batches.online(CONFIG, small_glyphs(), BATCH)
    gather = jax.jit(source.gather)
    return source, lambda step: jax.device_get(gather(source.arrays, (np.uint32(seed), step)))

  return make


@pytest.fixture(scope='module')
def online(make_online):
  """A source, and the batches of its steps 0..39."""
  source, batch_of = make_online(0)
  return source, [batch_of(step) for step in range(40)]


def test_resident_batches_are_the_scenes_that_were_drawn():
  scenes = make_scenes(np.arange(100) % 4)
  source = batches.resident(scenes, 8)
  chosen = source.sample_indices(5, 3, 2)
  assert chosen.shape == (2, 8)
  for indices in chosen:
    images, counts = jax.jit(source.gather)(source.arrays, indices)
    assert images.dtype == np.uint8 and images.shape == (8, 2, 3, 1)
    np.testing.assert_array_equal(images, scenes.images[indices])
    np.testing.assert_array_equal(counts, scenes.counts[indices])


@pytest.mark.parametrize('counts', [[-1, -1, -1], [1, -1, 2]])
def test_resident_counts_are_none_where_not_all_are_known(counts):
  source = batches.resident(make_scenes(counts), 8)
  images, counts = jax.jit(source.gather)(source.arrays, source.sample_indices(0, 0, 1)[0])
  assert counts is None and images.shape == (8, 2, 3, 1)


@pytest.mark.parametrize('seed', [0, 2**32 - 1])
def test_resident_batches_are_a_function_of_seed_and_step_alone(seed):
  scenes = make_scenes(np.zeros(100))
  whole = batches.resident(scenes, BATCH).sample_indices(seed, 0, 30)
  resumed = batches.resident(scenes, BATCH)
  parts = [
    resumed.sample_indices(seed, start, steps) for start, steps in ((0, 1), (1, 20), (21, 9))
  ]
  np.testing.assert_array_equal(np.concatenate(parts), whole)
  far = resumed.sample_indices(seed, 10**9, 2)
  other = resumed.sample_indices(seed ^ 1, 0, 30)
  seen = {tuple(batch) for batch in itertools.chain(whole, far, other)}
  assert len(seen) == 62


@pytest.mark.parametrize(
  ('seed', 'step', 'size', 'block', 'indices'),
  [
    (0, 0, 1000, 1, [34, 11, 611, 241, 365, 111, 186, 564]),
    (7, 12345, 60_000, 16, [46688, 46689, 46690, 46691, 46692, 46693, 46694, 46695]),
    (2**32 - 1, 10**6, 60_000, 4, [17164, 17165, 17166, 17167, 9404, 9405, 9406, 9407]),
  ],
)
def test_stream_of_batches_is_that_of_earlier_versions(seed, step, size, block, indices):
  assert batches.batch_indices(seed, step, 8, size, block).tolist() == indices


def test_online_scenes_are_those_of_earlier_versions(online):
  _, known = online
  images, counts = known[3]
  assert counts[:8].tolist() == [1, 3, 3, 2, 3, 3, 1, 3]
  rows, columns = np.nonzero(images[0, ..., 0])
  assert (rows.sum(), columns.sum()) == (232, 56)


def test_resident_batches_are_uniform_over_scenes_and_independent():
  chosen = batches.resident(make_scenes(np.zeros(50)), BATCH).sample_indices(0, 0, 500)
  assert stats.chisquare(np.bincount(chosen.ravel(), minlength=50)).pvalue > 1e-3
  for a, b in ((chosen[:-1], chosen[1:]), (chosen[:, :-1], chosen[:, 1:])):
    table = np.zeros((50, 50))
    np.add.at(table, (a.ravel(), b.ravel()), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_blocks_are_drawn_as_scenes_are_and_hold_neighbours():
  size, block = 70, 16  # the fifth block lacks ten scenes
  blocks = np.stack([batches.batch_blocks(3, step, BATCH, size, block) for step in range(500)])
  chosen = np.stack([batches.batch_indices(3, step, BATCH, size, block) for step in range(500)])
  assert stats.chisquare(np.bincount(blocks.ravel(), minlength=5)).pvalue > 1e-3
  neighbours = (block * blocks[..., None] + np.arange(block)) % size
  np.testing.assert_array_equal(chosen, neighbours.reshape(500, BATCH))
  cut = batches.batch_indices(3, 7, BATCH - 5, size, block)
  np.testing.assert_array_equal(cut, chosen[7, :-5])


def test_online_counts_are_those_of_the_images_and_even(online):
  _, drawn = online
  images, counts = map(np.concatenate, zip(*drawn, strict=True))
  assert images.dtype == np.uint8 and images.shape == (40 * BATCH, 20, 20, 1)
  np.testing.assert_array_equal((images == 255).sum((1, 2, 3)), 16 * counts)
  assert stats.chisquare(np.bincount(counts, minlength=4)[1:]).pvalue > 1e-3


def test_online_scenes_are_new_in_each_step_and_independent(online):
  _, drawn = online
  images, counts = map(np.concatenate, zip(*drawn, strict=True))
  crowded = images[counts == 3]
  assert len({image.tobytes() for image in crowded}) == len(crowded) > 500
  counts = counts.reshape(40, BATCH)
  for a, b in ((counts[:-1], counts[1:]), (counts[:, :-1], counts[:, 1:])):
    table = np.histogram2d(a.ravel(), b.ravel(), bins=3)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_online_objects_that_do_not_fit_are_refused_before_training():
  with pytest.raises(UserError, match='do not fit on data.canvas_size=6'):
    batches.online(dataclasses.replace(CONFIG, canvas_size=6), small_glyphs(), 8)


def test_online_batches_are_a_function_of_seed_and_step_alone(online, make_online):
  source, drawn = online
  part, whole = source.sample_indices(7, 17, 3), source.sample_indices(7, 0, 40)
  for some, every, expected in zip(part, whole, (7, [17, 18, 19]), strict=True):
    np.testing.assert_array_equal(some, every[17:20])
    np.testing.assert_array_equal(some, expected)
  _, batch_of = make_online(0)
  for mine, known in zip(batch_of(18), drawn[18], strict=True):
    np.testing.assert_array_equal(mine, known)
  _, other_batch_of = make_online(1)
  seen = {image.tobytes() for images, counts in drawn for image in images[counts == 3]}
  for step in range(10):
    images, counts = other_batch_of(step)
    assert not seen & {image.tobytes() for image in images[counts == 3]}
