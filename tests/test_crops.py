"""Crops of large pictures."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from air_jax.data import crops

SIZE = 20
CONFIG = types.SimpleNamespace(canvas_size=SIZE, object_pixels=24.0, seed=3)


def on_device(pieces):
  return crops.Pieces(*map(jnp.asarray, pieces))


def ramp(height, width):
  """A picture in which each pixel has a value of its own."""
  return np.arange(height * width).reshape(height, width, 1).astype(np.uint8)


def test_an_object_becomes_its_share_of_the_canvas():
  picture = np.zeros((240, 120, 3), np.uint8)
  scaled = crops.to_scale(picture, CONFIG)
  assert crops.scale(CONFIG) == pytest.approx(crops.OBJECT * SIZE / 24)
  assert scaled.shape == (72, 36, 3)
  assert crops.to_scale(picture[:1, :1], CONFIG).shape == (1, 1, 3)


@pytest.mark.parametrize('shape', [(100, 60), (60, 100)])
def test_the_parts_of_a_picture_are_the_whole_of_it(shape):
  picture = ramp(*shape)
  train, test = (crops.split(picture, part) for part in ('train', 'test'))
  axis = int(shape[1] > shape[0])
  assert test.shape[axis] == 20
  np.testing.assert_array_equal(np.concatenate([train, test], axis), picture)


def test_pieces_cover_pictures_and_overlap_by_a_canvas():
  long = ramp(30, 500)
  pieces = crops.cut([long, ramp(25, 25)], SIZE)
  starts = [(piece[0, 0] - long[0, 0]).item() for piece in pieces.pixels[:-1]]
  assert pieces.sizes[:-1].tolist() == [[30, 160]] * len(starts) and len(starts) == 4
  assert pieces.sizes[-1].tolist() == [25, 25]
  assert pieces.pixels.shape[1:] == (30, 160, 1)
  np.testing.assert_array_equal(pieces.pixels[3, :, :160], long[:, -160:])
  # As many places as a crop can begin at.
  places = np.diff(pieces.shares, prepend=0)
  assert places[0] / places[-1] == pytest.approx(11 * 141 / 36, rel=1e-4)


def test_a_picture_smaller_than_the_canvas_is_filled_up():
  pieces = crops.cut([np.full((3, 40, 1), 7, np.uint8)], SIZE)
  assert pieces.pixels.shape == (1, 20, 40, 1) and (pieces.pixels == 7).all()


def test_an_unchanged_crop_is_a_part_of_a_picture():
  picture = np.random.default_rng(0).integers(0, 256, (33, 47, 3)).astype(np.uint8)
  pieces = on_device(crops.cut([picture], SIZE))
  windows = np.lib.stride_tricks.sliding_window_view(picture.astype(float), (SIZE, SIZE), (0, 1))
  for i in range(3):
    crop = np.asarray(crops.random_crop(pieces, SIZE, jax.random.key(i), change=False), float)
    # At a place between pixels, so not further from a whole one than its neighbours are.
    distance = np.abs(windows - np.moveaxis(crop, -1, 0)).mean((2, 3, 4)).min()
    assert crop.shape == (SIZE, SIZE, 3) and distance < 50


def test_turned_and_mirrored_crops_have_all_eight_forms():
  corner = np.zeros((SIZE, SIZE, 1), np.uint8)
  corner[:4, :8] = 200  # unlike any of its turns and mirror images
  pieces = on_device(crops.cut([corner], SIZE))
  keys = jax.random.split(jax.random.key(0), 100)
  made = np.asarray(jax.vmap(lambda key: crops.random_crop(pieces, SIZE, key))(keys))[..., 0]
  assert made.shape == (100, SIZE, SIZE)
  forms = {tuple((crop > 100)[rows, columns].sum() for rows, columns in QUARTERS) for crop in made}
  wide = {form.index(max(form)) for form in forms}
  assert wide == {0, 1, 2, 3}
  tall = {bool((crop > 100).any(1).sum() > (crop > 100).any(0).sum()) for crop in made}
  assert tall == {False, True}
  assert made.max() <= 222 and len(np.unique(made.max((1, 2)))) > 10  # brightness


QUARTERS = [
  (rows, columns)
  for rows in (slice(SIZE // 2), slice(SIZE // 2, None))
  for columns in (slice(SIZE // 2), slice(SIZE // 2, None))
]


def test_batches_are_a_function_of_seed_and_step():
  source = crops.source(crops.cut([ramp(50, 50)], SIZE), CONFIG, 4)
  seeds, steps = source.sample_indices(7, 10, 3)
  gather = jax.jit(source.gather)
  first, counts = gather(source.arrays, (seeds[1], steps[1]))
  again, _ = gather(source.arrays, jax.tree.map(lambda x: x[0], source.sample_indices(7, 11, 2)))
  other, _ = gather(source.arrays, (seeds[2], steps[2]))
  assert counts is None and first.shape == (4, SIZE, SIZE, 1) and first.dtype == jnp.uint8
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()
  held_out = crops.held_out(crops.cut([ramp(50, 50)], SIZE), CONFIG)
  np.testing.assert_array_equal(held_out, crops.held_out(crops.cut([ramp(50, 50)], SIZE), CONFIG))
