"""Levels, channel and inversion of own images: what a model is shown, in training and after it."""

import dataclasses
import json

import numpy as np
import own_images
import pytest
import samples
import tifffile
from PIL import Image

from air_jax import api
from air_jax.config import schema
from air_jax.configs import folder
from air_jax.data import image_files, image_folder, levels, preparation
from air_jax.errors import UserError
from air_jax.inference import parse_files, restore
from air_jax.runtime import strips
from air_jax.storage import run_dir


def seen(values, **changes):
  """The picture, at its own size, as [H, W] or [H, W, 3]."""
  prepared = preparation.prepare(np.atleast_3d(values), samples.data_config(**changes))
  return np.asarray(prepared.picture)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_levels_are_black_and_white_and_what_is_between_is_linear(dtype):
  values = np.array([[0, 10, 20, 30, 60, 61, 255]], dtype)
  expected = [[0, 0, 51, 102, 255, 255, 255]]
  assert seen(values, levels=(10.0, 60.0)).tolist() == expected
  assert seen(values, levels=(10.0, 60.0), invert=True).tolist() == [[255 - x for x in expected[0]]]


def test_without_levels_values_are_those_of_the_full_range():
  assert seen(np.array([[0, 7, 255]], np.uint8)).tolist() == [[0, 7, 255]]
  assert seen(np.array([[0, 257, 65535]], np.uint16)).tolist() == [[0, 1, 255]]
  assert seen(np.array([[0, 0.2, 1]], np.float32)).tolist() == [[0, 51, 255]]
  assert seen(np.array([[-9, 51, 255]], np.float32)).tolist() == [[0, 51, 255]]
  assert seen(np.array([[0, 100, 500]], np.float32)).tolist() == [[0, 51, 255]]
  assert seen(np.array([[np.nan, -np.inf, np.inf, 1]], np.float32)).tolist() == [[0, 0, 255, 255]]


def test_strips_fit_together(monkeypatch):
  values = np.random.default_rng(0).integers(2**16, size=(13, 7, 3), dtype=np.uint16)
  for array in (values, values.astype(np.float32)):
    whole = seen(array, levels=(9.0, 50_000.0))
    with monkeypatch.context() as patch:
      patch.setattr(strips, '_VALUES', 50)
      np.testing.assert_array_equal(seen(array, levels=(9.0, 50_000.0)), whole)


def test_one_channel_is_taken_as_grey():
  values = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
  for i, name in enumerate(('red', 'green', 'blue')):
    np.testing.assert_array_equal(seen(values, channel=name), values[..., i])
    np.testing.assert_array_equal(seen(values, channel=str(i)), values[..., i])
    np.testing.assert_array_equal(seen(values[..., :1], channel=name), values[..., 0])
  many = np.arange(20, dtype=np.uint8).reshape(2, 2, 5)
  np.testing.assert_array_equal(seen(many, channel='4'), many[..., 4])
  for name, allowed in (('', '0 .. 4$'), ('red', '0 .. 4$'), ('5', '0 .. 4$')):
    with pytest.raises(UserError, match=f'it has 5 channels, and .*{allowed}'):
      seen(many, channel=name)
  with pytest.raises(UserError, match=r'it has 1 channel, .* 0 \.\. 0, red, green, blue or empty'):
    seen(values[..., :1], channel='1')


def test_percentiles_are_measured_and_outliers_do_not_count():
  values = np.arange(10_000, dtype=np.float32)
  assert levels.measure(values) == pytest.approx((99.99, 9979), rel=1e-3)
  assert levels.measure(np.array([0] * 9999 + [7], np.uint16)) == (0, 7)  # nearly all background
  assert levels.measure(np.full(9, 3, np.uint8)) == ()
  assert levels.measure(np.zeros(0)) == ()


def test_a_sample_is_bounded_finite_and_always_the_same():
  values = np.random.default_rng(0).random((100, 100, 1), np.float32)
  values[::2] = np.nan
  one, other = (levels.sample(values, 1 << 12) for _ in range(2))
  np.testing.assert_array_equal(one, other)
  assert 400 < one.size < 1024 and np.isfinite(one).all()
  assert abs(one.mean() - 0.5) < 0.06


def deep_folder(path, number=24, high=3000):
  """Images of 16 bits that use little of them: a bright square on dim ground."""
  rng = np.random.default_rng(0)
  path.mkdir(exist_ok=True)
  for i in range(number):
    pixels = rng.integers(100, 200, (30, 40), np.uint16)
    pixels[5:15, 8:20] += np.uint16(high - 200)
    tifffile.imwrite(path / f'{i}.tif', pixels)
  return path


def test_dim_images_are_warned_about_and_stretched_ones_are_not_dim(tmp_path, caplog):
  config = own_images.config_of(deep_folder(tmp_path), canvas_size=20)
  assert image_folder.load(config, 'train').images.max() < 15
  (line,) = caplog.messages
  assert line.startswith(f'the images of {tmp_path} use ') and 'data.stretch=True' in line
  caplog.clear()
  with caplog.at_level('INFO', logger='absl'):
    images = image_folder.load(dataclasses.replace(config, stretch=True), 'train').images
  assert images.max() > 250 and np.median(images) < 20
  measured = [line for line in caplog.messages if 'measured from' in line]
  assert len(measured) == 1 and measured[0].startswith('data.levels=(1')
  assert not any('use ' in line for line in caplog.messages)


def test_both_splits_get_the_levels_of_the_training_images(tmp_path):
  Image.fromarray(np.array([[10, 60]], np.uint8)).save(tmp_path / own_images.TEST_NAME)
  Image.fromarray(np.array([[10, 110]], np.uint8)).save(tmp_path / own_images.TRAIN_NAME)
  config = own_images.config_of(tmp_path, stretch=True)
  assert image_folder.load(config, 'train').images[0, 0, :, 0].tolist() == [0, 255]
  assert image_folder.load(config, 'test').images[0, 0, :, 0].tolist() == [0, 128]
  resolved = image_folder.resolve(config)
  assert resolved.levels == (10, 110)
  assert image_folder.resolve(resolved) is resolved  # given levels are not measured
  plain = own_images.config_of(tmp_path)
  assert image_folder.resolve(plain) is plain


def test_images_of_two_types_cannot_be_stretched(tmp_path):
  deep_folder(tmp_path, 2)
  own_images.save_named(tmp_path, ['a.png', 'b.png'])
  config = own_images.config_of(tmp_path, stretch=True)
  says = r"'\d\.tif' is uint16 and 'a\.png' is uint8; keep them in folders of their own$"
  for changes in ({}, {'levels': (0.0, 9.0)}):
    with pytest.raises(UserError, match=says):
      image_folder.load(dataclasses.replace(config, **changes), 'train')
  image_folder.load(dataclasses.replace(config, stretch=False), 'train')


def test_held_out_images_of_another_type_cannot_be_stretched(tmp_path):
  deep_folder(tmp_path, 1)
  own_images.save(np.eye(4, dtype=np.uint8), tmp_path / own_images.TEST_NAME)
  config = own_images.config_of(tmp_path, stretch=True)
  with pytest.raises(UserError, match=r"'0\.png' is uint8 and '0\.tif' is uint16"):
    image_folder.load(config, 'train')


def test_images_of_one_value_cannot_be_stretched(tmp_path):
  own_images.save_named(tmp_path, ['a.png'])
  with pytest.raises(UserError, match=r'data\.stretch=True: the train images .* no two values'):
    image_folder.load(own_images.config_of(tmp_path, stretch=True), 'train')


def test_a_run_keeps_its_levels_and_goes_on_with_them(run_config, tmp_path):
  images, run = deep_folder(tmp_path / 'images'), tmp_path / 'run'
  run_config.data.update(source='folder', dir=str(images), stretch=True)
  run_config.train.update(steps=2, eval_every=2, log_every=1)
  api.train(run_config, run, figures=False, progress=False)
  kept = tuple(run_dir.load_config(run).data.levels)
  assert kept == image_folder.resolve(schema.parse(run_config).data).levels
  assert run_config.data.levels == () and 90 < kept[0] < 110 and 2800 < kept[1] < 3001

  model = restore.load(run)
  other = np.full((50, 50), 100, np.uint16)  # parsed by the levels of the run, not its own
  other[10:20, 10:20] = 1600
  (tmp_path / 'other').mkdir()
  tifffile.imwrite(tmp_path / 'other' / 'a.tif', other)
  (file,) = parse_files.find(str(tmp_path / 'other'))[1]
  canvas = preparation.prepare(image_files.read(file), model.config.data).canvas
  assert abs(int(canvas.max()) - 255 * (1600 - kept[0]) / (kept[1] - kept[0])) < 1
  np.testing.assert_array_equal(model.prepare(other), canvas)

  api.train(run_config, run, figures=False, progress=False)  # measures the same again
  run_config.train.steps = 3
  api.train(run_config, run, figures=False, progress=False)
  assert json.loads((run / 'config.json').read_text())['data']['levels'] == list(kept)
  deep_folder(images, high=2000)
  with pytest.raises(
    UserError, match=r'another configuration: data\.levels \(\(.* there, \(.* now'
  ):
    api.train(run_config, run, figures=False, progress=False)


def test_the_configuration_for_folders_stretches(tmp_path):
  config = folder.get_config()
  config.data.dir = str(deep_folder(tmp_path))
  assert image_folder.load(schema.parse(config).data, 'test').images.max() > 250


def test_gamma_is_a_power_of_the_brightness():
  values = np.array([[0, 64, 128, 255]], np.uint8)
  np.testing.assert_array_equal(seen(values, gamma=0.5), [[0, 128, 181, 255]])
  floats = np.array([[5.0, 6.0, 9.0]], np.float32)  # 1/4 of the way, and its complement
  changes = {'levels': (5.0, 9.0), 'gamma': 2.0}
  np.testing.assert_array_equal(seen(floats, **changes), [[0, 16, 255]])
  np.testing.assert_array_equal(seen(floats, **changes, invert=True), [[255, 143, 0]])
