"""The reader of published scenes, on files written here as their authors' documents say."""

import gzip
import struct

import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_generated_pb2 as protos

from air_jax.data import tfrecords
from air_jax.errors import UserError

SIDE, ENTITIES = 12, 4


def _strings(example, name, values):
  strings = example.features.feature[name].bytes_list.value
  strings.extend(bytes([int(value)]) for value in np.ravel(values))


def _scene(rng, channels):
  """An image of rectangles that hide earlier ones, the entity of each pixel, which are visible."""
  image = np.full((SIDE, SIDE, channels), rng.integers(256, size=channels), np.uint8)
  entity = np.zeros((SIDE, SIDE), int)
  visible = np.array([True, *(rng.random(ENTITIES - 1) < 0.7)])
  for k in np.flatnonzero(visible)[1:]:
    top, left = rng.integers(SIDE - 4, size=2)
    image[top : top + 4, left : left + 3] = rng.integers(256, size=channels)
    entity[top : top + 4, left : left + 3] = k
  return image, entity, visible


def _write_records(path, examples):
  whole = [example.SerializeToString() for example in examples]
  parts = [struct.pack('<Q', len(data)) + b'HEAD' + data + b'TAIL' for data in whole]
  path.write_bytes(gzip.compress(b''.join(parts)))


def _write(path, scenes, entities_first):
  examples = []
  for number, (image, entity, visible) in enumerate(scenes):
    masks = 255 * (entity == np.arange(ENTITIES)[:, None, None])
    example = protos.Example()
    _strings(example, 'image', image)
    _strings(example, 'mask', masks if entities_first else np.moveaxis(masks, 0, -1))
    for name, values in (('visibility', visible), ('shape', np.arange(ENTITIES) + 10 * number)):
      example.features.feature[name].float_list.value.extend(map(float, values))
    if not entities_first:
      example.features.feature['scale'].float_list.value.extend([0.0, 0.5, 0.75, 1.0])
    examples.append(example)
  _write_records(path, examples)


@pytest.mark.parametrize(('entities_first', 'channels'), [(True, 3), (False, 3), (False, 1)])
def test_scenes_arrive_with_their_objects_in_order(tmp_path, entities_first, channels):
  rng = np.random.default_rng(0)
  given = [_scene(rng, channels) for _ in range(30)]
  _write(tmp_path / 'scenes', given, entities_first)
  found = tfrecords.read(tmp_path / 'scenes', 5, 30)
  assert found.images.dtype == np.uint8 and len(found.images) == 25
  for i, (image, entity, visible) in enumerate(given[5:]):
    np.testing.assert_array_equal(found.images[i], image)
    objects = np.flatnonzero(visible)[1:]
    assert found.counts[i] == len(objects)
    absent = [-1] * (ENTITIES - 1 - len(objects))
    assert found.labels[i].tolist() == [*(objects + 10 * (i + 5)), *absent]
    scales = [1.0, 1.0, 1.0] if entities_first else [0.5, 0.75, 1.0]
    assert found.scales[i].tolist()[: len(objects)] == [scales[k - 1] for k in objects]
    for number, k in enumerate(objects):
      np.testing.assert_array_equal(found.segments[i] == number + 1, entity == k)
      where = np.argwhere(entity == k)
      expected = [*where.min(0), *(where.max(0) + 1 - where.min(0))] if len(where) else [0] * 4
      assert found.boxes[i, number].tolist() == expected
    assert not found.boxes[i, len(objects) :].any()
    np.testing.assert_array_equal(found.segments[i] == 0, entity == 0)
  assert len({*found.counts}) > 2


@pytest.fixture
def file(tmp_path):
  path = tmp_path / 'scenes'
  _write(path, [_scene(np.random.default_rng(1), 3) for _ in range(3)], True)
  return path


def test_objects_without_a_word_about_them_are_those_that_have_pixels(tmp_path):
  image, entity, visible = _scene(np.random.default_rng(2), 3)
  example = protos.Example()
  _strings(example, 'image', image)
  _strings(example, 'mask', entity == np.arange(ENTITIES)[:, None, None])
  _write_records(tmp_path / 'scenes', [example])
  found = tfrecords.read(tmp_path / 'scenes', 0, 1)
  assert found.counts.tolist() == [len(set(entity.ravel()) - {0})]


def test_a_file_cut_short_is_refused(file, tmp_path):
  whole = gzip.decompress(file.read_bytes())
  (tmp_path / 'cut').write_bytes(gzip.compress(whole[:-9]))
  with pytest.raises(UserError, match=r'cut cannot be read .*its last record is cut short'):
    tfrecords.read(tmp_path / 'cut', 0, 3)
  assert len(tfrecords.read(tmp_path / 'cut', 0, 2).images) == 2
  content = file.read_bytes()
  (tmp_path / 'half').write_bytes(content[: len(content) // 2])
  with pytest.raises(UserError, match=r'half cannot be read as gzipped TFRecords'):
    tfrecords.read(tmp_path / 'half', 0, 3)


@pytest.mark.parametrize(
  ('start', 'stop', 'says'),
  [(0, 4, r'ends before scene 4; it has 3'), (2, 2, '0 <= start < stop'), (-1, 2, 'not allowed')],
)
def test_scenes_that_are_not_there_are_refused(file, start, stop, says):
  with pytest.raises(UserError, match=says):
    tfrecords.read(file, start, stop)


@pytest.mark.parametrize('kind', ('empty', 'picture', 'short', 'garbage'))
def test_what_is_no_such_file_is_refused(tmp_path, kind):
  packed = {'short': gzip.compress(b'short'), 'garbage': gzip.compress(b'\xff' * 99)}
  content = {'empty': b'', 'picture': b'PNG'} | packed
  (tmp_path / 'other').write_bytes(content[kind])
  with pytest.raises(UserError, match='other '):
    tfrecords.read(tmp_path / 'other', 0, 1)
  with pytest.raises(UserError, match='nowhere cannot be read'):
    tfrecords.read(tmp_path / 'nowhere', 0, 1)


def test_another_set_is_refused(tmp_path):
  example = protos.Example()
  _strings(example, 'image', np.zeros((10, 7, 3), np.uint8))
  _write_records(tmp_path / 'other', [example])
  with pytest.raises(UserError, match=r'other holds no scenes .*210 values are no square image'):
    tfrecords.read(tmp_path / 'other', 0, 1)
  broken = protos.Example()
  _strings(broken, 'image', np.zeros((SIDE, SIDE, 3), np.uint8))
  _strings(broken, 'mask', np.full((ENTITIES, SIDE, SIDE), 255))
  _write_records(tmp_path / 'overlap', [broken])
  with pytest.raises(UserError, match='masks must give each pixel to one entity'):
    tfrecords.read(tmp_path / 'overlap', 0, 1)
