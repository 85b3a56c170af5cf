"""Scenes from arrays in memory: what is taken, held out and refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from air_jax.data import batches, loading
from air_jax.errors import UserError

IMAGES = np.random.default_rng(0).integers(256, size=(60, 4, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize('dtype', [np.uint8, np.float16, np.float32, np.float64, jnp.bfloat16])
@pytest.mark.parametrize('channels', [None, 1, 3])
def test_every_image_is_in_one_split_with_its_count(dtype, channels):
  images = IMAGES[..., 0] if channels is None else IMAGES[..., :channels]
  given = images if dtype == np.uint8 else (images / 255).astype(dtype)
  train, test = loading.from_arrays(given, counts=np.arange(60), test_fraction=0.25)
  assert len(train.images) == 45 and len(test.images) == 15
  tolerance = 1 if dtype == jnp.bfloat16 else 0  # it has eight bits
  for split in (train, test):
    assert split.images.dtype == np.uint8 and split.counts.dtype == np.int32
    expected = images.reshape(60, 4, 4, channels or 1)[split.counts]
    assert abs(split.images.astype(int) - expected).max() <= tolerance
  assert sorted([*train.counts, *test.counts]) == list(range(60))


def test_the_seed_decides_the_split_and_counts_may_be_unknown():
  splits = [loading.from_arrays(jnp.asarray(IMAGES), seed=seed) for seed in (0, 0, 1)]
  assert (splits[0].test.images == splits[1].test.images).all()
  assert (splits[0].test.images != splits[2].test.images).any()
  assert len(splits[0].test.images) == 12 and (splits[0].train.counts == -1).all()
  source = batches.resident(splits[0].train, 8)
  images, counts = source.gather(source.arrays, source.sample_indices(0, 0, 1)[0])
  assert images.shape == (8, 4, 4, 3) and counts is None


@pytest.mark.parametrize('fraction', [1e-9, 1 - 1e-9])
def test_neither_split_is_empty(fraction):
  train, test = loading.from_arrays(IMAGES, test_fraction=fraction)
  assert {len(train.images), len(test.images)} == {1, 59}


@pytest.mark.parametrize(
  ('images', 'message'),
  [
    (IMAGES[..., :2], r'images has shape \[60, 4, 4, 2\]; it must be \[B, S, S\] or'),
    (IMAGES[:, :3], r'images has shape \[60, 3, 4, 3\]; .* square'),
    (IMAGES[0, 0], r'images has shape \[4, 3\]; it must be'),
    (IMAGES[:0], r'images has shape \[0, 4, 4, 3\]; .* none of these 0'),
    (IMAGES[:, :0, :0], r'images has shape \[60, 0, 0, 3\]; .* none of these 0'),
    (None, r'images has shape \[\]; it must be'),
    (IMAGES[:1], 'holds one image; it must hold at least two'),
    ([[[1.0]], [[1.0, 2.0]]], 'arrays of several shapes'),
    (IMAGES.astype(int), 'of type int64; it must be uint8, or floats in'),
    (IMAGES > 99, 'of type bool; it must be'),
    (IMAGES.astype(str), 'of type <U.*; it must be'),
    (IMAGES.astype(float), r'float64 with values in \[0\.0, 255\.0\]; .* in \[0, 1\]'),
    (IMAGES / 255 - 1, r'values in \[-1\.0, 0\.0\]'),
    (np.where(IMAGES == 3, np.nan, 0.5), r'values in \[nan, nan\]; floats must be finite'),
    (np.where(IMAGES == 3, np.inf, 0.5), r'values in \[0\.5, inf\]'),
  ],
)
def test_what_is_no_images_is_refused(images, message):
  with pytest.raises(UserError, match=message):
    loading.from_arrays(images)


@pytest.mark.parametrize(
  ('counts', 'message'),
  [
    (np.zeros(59, int), r'counts has shape \[59\] .* it must be \[60\] whole numbers'),
    (np.zeros((60, 1), int), r'counts has shape \[60, 1\]'),
    (np.zeros(60), 'type float64'),
    (np.full(60, -2), 'counts holds -2'),
  ],
)
def test_what_is_no_counts_is_refused(counts, message):
  with pytest.raises(UserError, match=message):
    loading.from_arrays(IMAGES, counts)


@pytest.mark.parametrize('fraction', [0, 1, -0.1, float('nan')])
def test_a_fraction_out_of_range_is_refused(fraction):
  with pytest.raises(UserError, match=r'test_fraction=.* must be in \(0, 1\)'):
    loading.from_arrays(IMAGES, test_fraction=fraction)


def test_few_or_nearly_black_images_are_warned_of(caplog):
  loading.from_arrays(IMAGES)
  assert not caplog.messages
  loading.from_arrays(IMAGES[:20] // 128)
  few, dark = sorted(caplog.messages)
  assert few.startswith('20 images are few: the model will memorise them')
  assert 'no value above 1 of 255' in dark
