"""Scenes of a configuration: which digits they are made of, when they are composed anew."""

import dataclasses
import gzip
import itertools

import numpy as np
import pytest
import samples

from air_jax import config as config_lib
from air_jax.data import glyphs as glyphs_lib
from air_jax.data import loading, scenes


@pytest.fixture
def data_config(tiny_config, tmp_path):
  tiny_config.data.cache_dir = str(tmp_path / 'made' / 'cache')
  return config_lib.parse(tiny_config).data


@pytest.fixture
def composed(monkeypatch):
  """A list that grows by one with every composition."""
  calls, compose = [], scenes.compose

  def counted(*args, **kwargs):
    calls.append(kwargs)
    return compose(*args, **kwargs)

  monkeypatch.setattr(scenes, 'compose', counted)
  return calls


def assert_same(a, b):
  for x, y in zip(a, b, strict=True):
    np.testing.assert_array_equal(x, y)
    assert x.dtype == y.dtype


def the_only_file(data_config):
  (path,) = loading._cache_folder(data_config.cache_dir).iterdir()
  return path


def test_held_out_scenes_are_made_of_held_out_digits(data_config):
  known = {}
  for split in ('train', 'test'):
    for image in glyphs_lib.load('digits', split).images:
      rows, columns = np.nonzero(image)
      known[image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].tobytes()] = split
  for split, size in (('train', data_config.train_scenes), ('test', data_config.test_scenes)):
    made = loading.load(data_config, split)
    assert len(made.images) == size
    boxes = made.boxes.astype(int)
    for image, count, box in zip(made.images, made.counts, boxes, strict=True):
      for top, left, height, width in box[:count]:
        assert known[image[top : top + height, left : left + width].tobytes()] == split


def test_second_load_reads_the_file(data_config, composed):
  first = loading.load(data_config, 'test')
  second = loading.load(data_config, 'test')
  assert len(composed) == 1
  assert_same(first, second)


def test_cached_scenes_are_those_of_the_key(data_config, composed):
  glyphs = glyphs_lib.load('digits', 'test')
  seed = (data_config.seed, 1)
  assert_same(
    loading.load(data_config, 'test'),
    scenes.compose(glyphs, 64, layout='disjoint', canvas_size=50, max_objects=2, seed=seed),
  )


def test_whatever_determines_the_scenes_changes_the_file(data_config, composed, tmp_path):
  samples.write_idx(tmp_path)
  changes = [
    {'layout': 'touching'},
    {'canvas_size': 51},
    {'min_objects': 1},
    {'max_objects': 1},
    {'seed': 1},
    {'test_scenes': 65},
    {'source': 'mnist', 'mnist_dir': str(tmp_path)},
  ]
  made = [loading.load(data_config, 'test'), loading.load(data_config, 'train')]
  made += [loading.load(dataclasses.replace(data_config, **change), 'test') for change in changes]
  assert len(composed) == len(made)
  for a, b in itertools.combinations(made, 2):
    assert a.images.shape != b.images.shape or (a.images != b.images).any()


def test_what_does_not_concern_a_split_leaves_its_file(data_config, composed):
  loading.load(data_config, 'test')
  loading.load(dataclasses.replace(data_config, train_scenes=300), 'test')
  assert len(composed) == 1


def test_changed_digits_change_the_file(data_config, composed, tmp_path):
  (images, labels), folder = samples.write_idx(tmp_path)['test'], str(tmp_path)
  config = dataclasses.replace(data_config, source='mnist', mnist_dir=folder)
  loading.load(config, 'test')
  for name, array in zip(glyphs_lib.IDX_FILES['test'], (images, labels), strict=True):
    (tmp_path / name).write_bytes(gzip.compress(samples.idx_bytes(array[::-1])))
    loading.load(config, 'test')
  assert len(composed) == 3


def test_damaged_cache_is_composed_anew_with_a_warning(data_config, composed, caplog, monkeypatch):
  glyphs = glyphs_lib.load('digits', 'test')
  monkeypatch.setattr(glyphs_lib, 'load', lambda *_: glyphs)  # once is enough
  data_config = dataclasses.replace(data_config, test_scenes=4)
  good = loading.load(data_config, 'test')
  path = the_only_file(data_config)
  content = path.read_bytes()
  damages = [b'', b'not a zip', content[: len(content) // 2], content[:-30]]
  directory = content.index(b'PK\1\2')
  for place in [3, 30, len(content) // 3, *range(directory, directory + 56), len(content) - 10]:
    damages.append(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
  for damage in damages:
    path.write_bytes(damage)
    caplog.clear()
    calls = len(composed)
    assert_same(loading.load(data_config, 'test'), good)
    # Some bytes, such as the time in a zip's directory, mean nothing to its reader.
    if len(composed) > calls:
      assert 'composing scenes anew' in caplog.text and str(path) in caplog.text
      assert_same(loading.load(data_config, 'test'), good)
      assert len(composed) == calls + 1
  assert len(composed) > len(damages) / 2


def test_unwritable_cache_only_warns(data_config, caplog, tmp_path):
  good = loading.load(data_config, 'test')
  (tmp_path / 'file').write_text('in the way')
  config = dataclasses.replace(data_config, cache_dir=str(tmp_path / 'file'))
  assert_same(loading.load(config, 'test'), good)
  assert 'composed scenes are not kept' in caplog.text


def test_failed_write_leaves_nothing(data_config, monkeypatch):
  def full(file, **arrays):
    file.write(b'half')
    raise OSError('no space left on device')

  monkeypatch.setattr(np, 'savez', full)
  loading.load(data_config, 'test')
  assert not list(loading._cache_folder(data_config.cache_dir).iterdir())
