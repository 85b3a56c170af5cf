"""Damaged files of data sets give what is in them, or are refused with a `UserError`."""

import gzip
import io
import struct
import zipfile

import mutations
import numpy as np
import pytest
import samples
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from tensorflow_datasets.proto import tf_example_generated_pb2 as protos

from air_jax.data import mnist, omniglot, picture_table, tfrecords
from air_jax.errors import UserError

NAMES = ['a.png', 'b/c.png', 'd "e".png']
COUNTS = b'name,count\na.png,3\nb/c.png,0\n"d ""e"".png",12\n'
POINTS = b'name;x;y\na.png;3;1,5\nb/c.png;;\na.png;0.5;2\n'


def refused(error):
  assert '\n' not in str(error) and len(str(error)) < 2000, error


@mutations.examples()
@given(
  mutations.damaged_bytes(COUNTS)
  | mutations.damaged_bytes(POINTS)
  | st.binary(max_size=30)
  | st.text(max_size=30).map(str.encode)
)
def test_damaged_counts_and_points(tmp_path, content):
  (tmp_path / 'counts.csv').write_bytes(content)
  try:
    counts, points = picture_table.read(tmp_path / 'counts.csv', NAMES)
  except UserError as error:
    refused(error)
  else:
    assert not (counts and points) and counts.keys() | points.keys() <= {*NAMES}
    assert all(0 <= n < 10**9 for n in counts.values())
    assert all(each.shape[1:] == (2,) and np.isfinite(each).all() for each in points.values())


IDX = samples.idx_bytes(np.arange(2 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28))
HEADERS = st.lists(st.sampled_from([2, 28, 0, 1, -1, -28, 2**31 - 1, -(2**31), 56, 2**16]),
                   min_size=3, max_size=3)  # fmt: skip


@mutations.examples()
@given(
  mutations.damaged_bytes(gzip.compress(IDX, mtime=0))
  | mutations.damaged_bytes(IDX).map(gzip.compress)
  | HEADERS.map(lambda sizes: gzip.compress(IDX[:4] + struct.pack('>3i', *sizes) + IDX[16:]))
)
@example(gzip.compress(IDX[:4] + struct.pack('>3i', -1, -56, 28) + IDX[16:]))
def test_a_damaged_idx_file(tmp_path, content):
  (tmp_path / 'file').write_bytes(content)
  try:
    array = mnist.read_idx(tmp_path / 'file', 3)
  except UserError as error:
    refused(error)
  else:
    assert array.dtype == np.uint8 and array.ndim == 3


def _drawing(pixels):
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, 'PNG')
  return file.getvalue()


def _archive(drawings, compression=zipfile.ZIP_DEFLATED):
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', compression) as archive:
    for name, content in drawings.items():
      archive.writestr(zipfile.ZipInfo(name), content)
  return file.getvalue()


STROKES = np.full((105, 105), 255, np.uint8)
STROKES[20:60, 30:40] = 0
SOUND = {f'images/{name}/one/1.png': _drawing(STROKES) for name in ('Greek', 'Latin')}


@st.composite
def _odd_drawings(draw):
  """Pixels of any shade, most of them white, on canvases of any shape."""
  pixels = np.full(draw(st.tuples(st.integers(1, 200), st.integers(1, 200))), 255, np.uint8)
  for _ in range(draw(st.integers(0, 3))):
    y, x = (round(draw(st.floats(0, 1)) * (side - 1)) for side in pixels.shape)
    pixels[y, x] = draw(st.integers(0, 255))
  return _drawing(pixels)


ARCHIVES = st.one_of(
  mutations.damaged_bytes(_archive(SOUND)),
  mutations.damaged_bytes(_archive(SOUND, zipfile.ZIP_STORED)),
  st.dictionaries(
    st.sampled_from([*SOUND, 'a.png', '/.png', 'a/b/c/d.png', '../x/y.png', 'a//.png'])
    | st.text(max_size=5).map(lambda text: f'{text}.png'),
    _odd_drawings() | mutations.damaged_bytes(_drawing(STROKES)),
    max_size=3,
  ).map(lambda drawings: _archive(SOUND | drawings)),
)


@pytest.mark.filterwarnings('ignore:Duplicate name')
@mutations.examples(2)
@given(ARCHIVES, st.sampled_from(['train', 'test']))
def test_a_damaged_archive_of_characters(tmp_path, content, split):
  (tmp_path / 'images_background.zip').write_bytes(content)
  try:
    images, labels = omniglot.read(tmp_path, split)
  except UserError as error:
    refused(error)
  else:
    assert len(images) == len(labels) > 0 and (images.max((1, 2)) == 255).all()


def _scene(side, entities, floats):
  """A `tf.train.Example` as in the data sets, in which features may not fit together."""
  example = protos.Example()
  features = example.features.feature
  masks = np.zeros((entities, side, side), np.uint8)
  masks[0] = 255
  if entities > 1:
    masks[:, 0, 0] = [0, 255] + [0] * (entities - 2)
  for name, values in (('image', np.arange(side * side * 3) % 256), ('mask', masks.ravel())):
    features[name].bytes_list.value.extend(bytes([int(x)]) for x in values)
  for name, values in floats.items():
    features[name].float_list.value.extend(values)
  return example.SerializeToString()


def _records(scenes, lengths=()):
  parts = []
  for i, scene in enumerate(scenes):
    length = lengths[i] if i < len(lengths) else len(scene)
    parts.append(struct.pack('<Q', length) + b'HEAD' + scene + b'TAIL')
  return b''.join(parts)


FLOATS = st.lists(st.floats(width=32) | st.sampled_from([0.0, 1.0]), max_size=5)
SCENES = st.lists(
  st.builds(
    _scene,
    st.sampled_from([4, 4, 4, 5]),
    st.sampled_from([3, 3, 3, 1, 2, 4]),
    st.dictionaries(
      st.sampled_from(['visibility', 'shape', 'scale', 'orientation']),
      st.just([1.0, 1.0, 0.0]) | FLOATS,
    ),
  ),
  min_size=2,
  max_size=3,
)
TWO = [_scene(4, 3, {'visibility': [1.0, 1.0, 0.0], 'shape': [0.0, 2.0, 1.0]})] * 2
FILES = st.one_of(
  mutations.damaged_bytes(gzip.compress(_records(TWO), mtime=0)),
  mutations.damaged_bytes(_records(TWO)).map(gzip.compress),
  mutations.damaged_bytes(TWO[0]).map(lambda scene: gzip.compress(_records([scene, TWO[1]]))),
  SCENES.map(lambda scenes: gzip.compress(_records(scenes))),
  st.sampled_from([0, 1, 2**32, 2**40, 2**62, 2**63, 2**64 - 5, 2**64 - 1]).map(
    lambda length: gzip.compress(_records(TWO, [length]))
  ),
)


@mutations.examples()
@given(FILES)
def test_damaged_published_scenes(tmp_path, content):
  (tmp_path / 'file').write_bytes(content)
  try:
    scenes = tfrecords.read(tmp_path / 'file', 0, 2)
  except UserError as error:
    refused(error)
  else:
    assert all(len(field) == 2 for field in scenes)
    assert np.isfinite(scenes.scales).all() and np.isfinite(scenes.rotations).all()
