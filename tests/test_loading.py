"""Scenes of a configuration: what they are made of, and when they are composed anew."""

import dataclasses
import gzip

import numpy as np
import pytest
import samples

from air_jax.config.sections import DataConfig
from air_jax.data import batches, composition, digits, loading, mnist, sources
from air_jax.types import LabelledScenes

# Other values for every key: those that decide the scenes of the test split, and the others.
DECISIVE = {
  'source': 'sprites',
  'layout': 'touching',
  'canvas_size': 51,
  'colour': True,
  'min_objects': 1,
  'max_objects': 3,
  'counts': (0, 1),
  'min_scale': 0.5,
  'max_scale': 1.5,
  'palette': 'uniform',
  'background': 'grey',
  'noise': 0.1,
  'test_scenes': 65,
  'seed': 1,
}
INDIFFERENT = {
  'mnist_dir': '/nowhere',
  'omniglot_dir': '/nowhere',
  'dir': '/nowhere',
  'counts_csv': '/nowhere',
  'channel': 'red',
  'levels': (1.0, 2.0),
  'stretch': True,
  'gamma': 0.5,
  'object_pixels': 10.0,
  'invert': True,
  'fit': 'pad',
  'strict': True,
  'train_scenes': 300,
  'online': True,
  'reading': 'stream',
  'resident_gb': 1.0,
  'workers': 2,
}


@pytest.fixture
def data_config(tmp_path, monkeypatch):
  """Keeps its scenes in the user's cache folder, which is made by the first that are kept."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'made' / 'cache'))
  return samples.data_config()


@pytest.fixture
def composed(monkeypatch):
  """The calls of a stand-in for `composition.compose`, which never gives the same scenes twice."""
  calls = []

  def compose(config, glyphs, split, start, stop):
    calls.append((config, glyphs, split, start, stop))
    rng = np.random.default_rng(len(calls))
    for size in (1, stop - start - 1):
      yield LabelledScenes(
        images=rng.integers(256, size=(size, 5, 5, 1), dtype=np.uint8),
        counts=rng.integers(3, size=size, dtype=np.int32),
        boxes=rng.random((size, 2, 4), np.float32),
        labels=rng.integers(10, size=(size, 2), dtype=np.int32),
        scales=rng.random((size, 2), np.float32),
        rotations=rng.random((size, 2), np.float32),
        segments=rng.integers(3, size=(size, 5, 5), dtype=np.uint16),
        places=rng.random((size, 2, 2), np.float32),
      )

  monkeypatch.setattr(composition, 'compose', compose)
  return calls


def assert_same(a, b):
  assert type(a) is type(b) is LabelledScenes
  for x, y in zip(a, b, strict=True):
    np.testing.assert_array_equal(x, y)
    assert x.dtype == y.dtype


def differ(a, b):
  return a.images.shape != b.images.shape or (a.images != b.images).any()


def the_only_file(data_config):
  (path,) = sources.cache_folder(data_config).iterdir()
  return path


def test_held_out_scenes_are_made_of_held_out_digits(data_config):
  known = {}
  for split in ('train', 'test'):
    for image in digits.read(None, split).images:
      rows, columns = np.nonzero(image)
      known[image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].tobytes()] = split
  made = loading.load(data_config, 'test')
  glyphs = digits.read(None, 'test')
  assert_same(made, samples.compose(data_config, glyphs, data_config.test_scenes, 'test'))
  for image, count, box in zip(made.images, made.counts, made.boxes.astype(int), strict=True):
    for top, left, height, width in box[:count]:
      assert known[image[top : top + height, left : left + width].tobytes()] == 'test'


@pytest.mark.parametrize('split', ['train', 'test'])
def test_each_split_is_composed_of_its_own_digits(data_config, composed, split):
  made = loading.load(data_config, split)
  ((config, glyphs, *rest),) = composed
  size = {'train': data_config.train_scenes, 'test': data_config.test_scenes}[split]
  assert config == data_config and rest == [split, 0, size] and len(made.images) == size
  for given, known in zip(glyphs, digits.read(None, split), strict=True):
    np.testing.assert_array_equal(given, known)


def test_second_load_reads_the_file(data_config, composed):
  first = loading.load(data_config, 'test')
  second = loading.load(data_config, 'test')
  assert len(composed) == 1
  assert_same(first, second)


def test_every_key_is_known_to_decide_the_scenes_or_not_to():
  assert {*DECISIVE, *INDIFFERENT, 'cache_dir'} == {f.name for f in dataclasses.fields(DataConfig)}


@pytest.mark.parametrize('key', DECISIVE)
def test_whatever_decides_the_scenes_changes_the_file(data_config, composed, key):
  changed = dataclasses.replace(data_config, **{key: DECISIVE[key]})
  assert getattr(changed, key) != getattr(data_config, key)
  first, other = loading.load(data_config, 'test'), loading.load(changed, 'test')
  assert differ(first, other) and composed[1][0] == changed
  assert_same(loading.load(data_config, 'test'), first)
  assert_same(loading.load(changed, 'test'), other)
  assert len(composed) == 2


@pytest.mark.parametrize('key', INDIFFERENT)
def test_what_does_not_decide_the_scenes_leaves_the_file(data_config, composed, key):
  changed = dataclasses.replace(data_config, **{key: INDIFFERENT[key]})
  assert getattr(changed, key) != getattr(data_config, key)
  first = loading.load(data_config, 'test')
  assert_same(loading.load(changed, 'test'), first)
  assert len(composed) == 1


def test_splits_have_files_of_their_own(data_config, composed):
  """Of shapes as well, whose splits have no glyphs to tell them apart."""
  config = dataclasses.replace(data_config, source='dsprites', train_scenes=64)
  assert differ(loading.load(config, 'train'), loading.load(config, 'test'))
  assert [call[1:3] for call in composed] == [(None, 'train'), (None, 'test')]


def test_another_version_of_the_composition_does_not_read_the_file(
  data_config, composed, monkeypatch
):
  first = loading.load(data_config, 'test')
  monkeypatch.setattr(composition, 'VERSION', 99)
  assert differ(loading.load(data_config, 'test'), first)


def test_changed_digits_change_the_file(data_config, composed, tmp_path):
  images, labels = samples.write_idx(tmp_path)['test']
  config = dataclasses.replace(data_config, source='mnist', mnist_dir=str(tmp_path))
  loading.load(config, 'test')
  for name, array in zip(mnist.IDX_FILES['test'], (images, labels), strict=True):
    (tmp_path / name).write_bytes(gzip.compress(samples.idx_bytes(array[::-1])))
    loading.load(config, 'test')
  assert len(composed) == 3
  np.testing.assert_array_equal(composed[2][1].images, images[::-1])
  np.testing.assert_array_equal(composed[2][1].labels, labels[::-1])


def test_damaged_cache_is_composed_anew_with_a_warning(data_config, composed, caplog, monkeypatch):
  glyphs = digits.read(None, 'test')
  monkeypatch.setattr(sources, 'read', lambda *_: glyphs)  # once is enough
  data_config = dataclasses.replace(data_config, test_scenes=4)
  good = loading.load(data_config, 'test')
  path = the_only_file(data_config)
  content = path.read_bytes()
  damages = [b'', b'not a zip', content[: len(content) // 2], content[:-30]]
  directory = content.index(b'PK\1\2')
  for place in [3, 30, len(content) // 3, *range(directory, directory + 56), len(content) - 10]:
    damages.append(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
  array = content.index(b'\x93NUMPY')
  damages += [content[:array] + b'x' + content[array + 1 :]]  # no longer an array
  damages += [content[: array + 60] + bytes(1) + content[array + 61 :]]  # in its description
  renewed = 0
  for damage in damages:
    path.write_bytes(damage)
    caplog.clear()
    calls = len(composed)
    made = loading.load(data_config, 'test')
    if len(composed) == calls:
      # Some bytes, such as the time in a zip's directory, mean nothing to its reader.
      assert_same(made, good)
    else:
      assert differ(made, good)
      assert 'composing scenes anew' in caplog.text and str(path) in caplog.text
      assert_same(loading.load(data_config, 'test'), made)
      assert len(composed) == calls + 1
      renewed += 1
      path.write_bytes(content)
      assert_same(loading.load(data_config, 'test'), good)
  assert renewed > len(damages) / 2


def test_file_of_other_fields_is_composed_anew_with_a_warning(data_config, composed, caplog):
  good = loading.load(data_config, 'test')
  path = the_only_file(data_config)
  np.savez(path, images=good.images, counts=good.counts)
  assert differ(loading.load(data_config, 'test'), good)
  assert 'composing scenes anew' in caplog.text


def test_valid_file_of_other_scenes_is_composed_anew_with_a_warning(data_config, composed, caplog):
  good = loading.load(data_config, 'test')
  path = the_only_file(data_config)
  with np.load(path) as arrays:
    known = dict(arrays)
  for changes in (
    {'images': known['images'][:, ::-1]},
    {'counts': known['counts'].astype(np.int64)},
    {'boxes': np.zeros_like(known['boxes'])},
    {'digest': np.array('0' * 64)},
    {'digest': np.array([1.0])},
  ):
    caplog.clear()
    np.savez(path, **known | changes)
    assert differ(loading.load(data_config, 'test'), good)
    assert 'composing scenes anew' in caplog.text and 'match its digest' in caplog.text

  # Those of another seed under the name of these, whole as they are.
  path.unlink()
  other = dataclasses.replace(data_config, seed=data_config.seed + 1)
  loading.load(other, 'test')
  the_only_file(data_config).rename(path)
  caplog.clear()
  loading.load(data_config, 'test')
  assert 'match its digest' in caplog.text


def test_unwritable_cache_only_warns(data_config, composed, caplog, tmp_path):
  (tmp_path / 'file').write_text('in the way')
  config = dataclasses.replace(data_config, cache_dir=str(tmp_path / 'file'))
  assert len(loading.load(config, 'test').images) == config.test_scenes
  assert 'composed scenes are not kept' in caplog.text


def test_failed_write_leaves_nothing(data_config, composed, monkeypatch):
  def full(file, **arrays):
    file.write(b'half')
    raise OSError('no space left on device')

  monkeypatch.setattr(np, 'savez', full)
  loading.load(data_config, 'test')
  assert not list(sources.cache_folder(data_config).iterdir())


def test_batches_are_of_the_training_scenes(data_config, composed):
  source = loading.batch_source(data_config, 8)
  kept = loading.load(data_config, 'train')
  chosen = source.sample_indices(3, 5, 1)
  expected = batches.batch_indices(3, 5, 8, data_config.train_scenes, batches.BLOCK)
  np.testing.assert_array_equal(chosen, [expected])
  images, counts = source.gather(source.arrays, chosen[0])
  np.testing.assert_array_equal(images, kept.images[chosen[0]])
  np.testing.assert_array_equal(counts, kept.counts[chosen[0]])
  assert [call[2] for call in composed] == ['train']


def test_online_batches_are_of_the_training_digits_and_nothing_is_kept(
  data_config, composed, monkeypatch
):
  asked = []
  monkeypatch.setattr(batches, 'online', lambda *args: asked.append(args) or 'source')
  config = dataclasses.replace(data_config, online=True)
  assert loading.batch_source(config, 8) == 'source'
  ((given, glyphs, batch_size),) = asked
  assert (given, batch_size) == (config, 8)
  np.testing.assert_array_equal(glyphs.images, digits.read(None, 'train').images)
  assert not composed and not sources.cache_folder(config).exists()
