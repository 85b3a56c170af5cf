"""A person's own images as scenes: found, split by name, counted, and spoilt ones."""

import hashlib
import io
import sys

import jax
import numpy as np
import own_images
import pytest
from PIL import Image

from air_jax.data import image_folder, loading, pictures
from air_jax.errors import UserError
from air_jax.runtime import memory


def test_images_are_found_at_any_depth_and_sorted_by_name(tmp_path):
  names = ['z.png', 'a/z.PNG', 'a.png', 'a-b.png', 'x/y.png']  # all of the training split
  own_images.save_named(tmp_path, names)
  (tmp_path / 'notes.txt').write_text('no image')
  (tmp_path / 'g.png').mkdir()
  scenes = image_folder.load(own_images.config_of(tmp_path), 'train')
  assert own_images.greys(scenes) == [40, 30, 20, 50, 10]  # '-' < '.' < '/'


@pytest.mark.parametrize('name', ['a.jpg', 'a.JpEg', 'f.png'])
def test_suffixes(tmp_path, name):
  own_images.save(np.full((8, 8), 70, np.uint8), tmp_path / name)
  assert own_images.greys(image_folder.load(own_images.config_of(tmp_path), 'train')) == [70]


def test_home_folder_is_expanded(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  own_images.save_named(tmp_path / 'photos', [own_images.TRAIN_NAME])
  (tmp_path / 'counts.csv').write_text(f'{own_images.TRAIN_NAME},3\n')
  scenes = image_folder.load(own_images.config_of('~/photos', counts_csv='~/counts.csv'), 'train')
  assert own_images.greys(scenes) == [10] and scenes.counts.tolist() == [3]


def test_split_is_disjoint_and_complete_and_stays_when_images_are_added(tmp_path):
  def split():
    return [
      set(own_images.greys(image_folder.load(own_images.config_of(tmp_path), name)))
      for name in ('train', 'test')
    ]

  def add(values):
    for value in values:
      own_images.save(np.full((1, 1), value, np.uint8), tmp_path / f'{value * 37 % 251}.png')

  add(range(100))
  train, test = split()
  assert not train & test and train | test == set(range(100))
  hashes = {v: hashlib.sha256(f'{v * 37 % 251}.png'.encode()).hexdigest() for v in range(200)}
  assert test == {v for v in range(100) if int(hashes[v], 16) / 2**256 < 0.2}
  add(range(100, 200))
  more_train, more_test = split()
  assert train < more_train and test < more_test
  assert not more_train & more_test and more_train | more_test == set(range(200))


@pytest.mark.parametrize(
  'name, lacking', [(own_images.TRAIN_NAME, 'test'), (own_images.TEST_NAME, 'train')]
)
def test_empty_split_is_refused(tmp_path, name, lacking):
  own_images.save_named(tmp_path, [name])
  with pytest.raises(UserError, match=f'has no {lacking} images.* its 1 fell to {lacking}'):
    image_folder.load(own_images.config_of(tmp_path), lacking)


def test_nothing_is_known_without_counts(tmp_path):
  own_images.save_named(tmp_path, ['a.png', 'b.png'])
  scenes = image_folder.load(own_images.config_of(tmp_path), 'train')
  assert scenes.counts.tolist() == [-1, -1]
  shapes = {name: (value.shape, value.dtype) for name, value in scenes._asdict().items()}
  assert shapes == {
    'images': ((2, 2, 2, 1), np.uint8),
    'counts': ((2,), np.int32),
    'boxes': ((2, 0, 4), np.float32),
    'labels': ((2, 0), np.int32),
    'scales': ((2, 0), np.float32),
    'rotations': ((2, 0), np.float32),
    'segments': ((2, 0, 0), np.uint16),
    'places': ((2, 0, 2), np.float32),
  }


@pytest.mark.parametrize('start', ['', 'name,count\n', '\ufeffname,count\r\n'])
def test_counts_go_to_the_images_named(tmp_path, start):
  own_images.save_named(
    tmp_path, ['a.png', 'a/z.PNG', 'b.png', 'z.png', own_images.TEST_NAME, 'ä, b.png']
  )
  table = tmp_path / 'counts.csv'
  lines = f'{start}z.png, 4\n\na/z.PNG,0\n{own_images.TEST_NAME},7\n"ä, b.png",12\na.png,2'
  table.write_text(lines, encoding='utf-8')
  config = own_images.config_of(tmp_path, counts_csv=str(table))
  train, test = image_folder.load(config, 'train'), image_folder.load(config, 'test')
  assert list(zip(own_images.greys(train), train.counts, strict=True)) == [
    (10, 2),
    (20, 0),
    (30, -1),
    (40, 4),
  ]
  assert list(zip(own_images.greys(test), test.counts, strict=True)) == [(50, 7), (60, 12)]


def test_points_are_counted(tmp_path):
  own_images.save_named(tmp_path, ['a.png', 'b.png', 'z.png'])
  table = tmp_path / 'points.csv'
  table.write_text('name,x,y\na.png,1,2\nb.png,,\na.png,3,4\n')
  config = own_images.config_of(tmp_path, counts_csv=str(table))
  assert image_folder.load(config, 'train').counts.tolist() == [2, 0, -1]


@pytest.mark.parametrize(
  'content, complaint',
  [
    ('a.png,1\nq.png,1\n', r"line 2: 'q\.png' is none of the pictures; .* as in '0\.png'"),
    ('a.png,1\n"b.png,1\n', 'line 2 is no line of CSV'),
    ('a.png,1,2\n', "starts with 'a.png,1,2'"),
    (None, 'cannot be read .*No such file'),
  ],
)
def test_bad_counts_are_named_with_their_key(tmp_path, content, complaint):
  own_images.save_named(tmp_path, ['a.png', 'b.png', '0.png'])
  table = tmp_path / 'counts.csv'
  if content is not None:
    table.write_text(content)
  with pytest.raises(UserError, match=rf"^data\.counts_csv='.*/counts\.csv'.*{complaint}"):
    image_folder.load(own_images.config_of(tmp_path, counts_csv=str(table)), 'train')


def spoilt_files():
  """What a file may hold that is no image, by the kind of damage."""
  noise = Image.fromarray(np.random.default_rng(0).integers(256, size=(64, 64), dtype=np.uint8))
  contents = {'empty': b'', 'not an image': b'<html>404</html>'}
  for form in ('PNG', 'JPEG'):
    file = io.BytesIO()
    noise.save(file, form)
    contents[f'truncated {form}'] = file.getvalue()[: len(file.getvalue()) // 2]
    contents[f'header of {form}'] = file.getvalue()[:20]
  return contents


@pytest.mark.parametrize('damage', spoilt_files())
def test_spoilt_image_is_left_out_or_refused(tmp_path, damage, caplog):
  own_images.save_named(tmp_path, ['a.png', 'b.png', 'c.png'])
  (tmp_path / 'b.png').write_bytes(spoilt_files()[damage])
  table = tmp_path / 'counts.csv'
  table.write_text('a.png,1\nb.png,2\nc.png,3\n')
  config = own_images.config_of(tmp_path, counts_csv=str(table))
  scenes = image_folder.load(config, 'train')
  assert own_images.greys(scenes) == [10, 30] and scenes.counts.tolist() == [1, 3]
  each, total = caplog.messages
  assert each.startswith(f'leaving out {tmp_path / "b.png"}: it cannot be read (')
  assert not each.endswith('()')
  assert total == 'left out 1 of 3 train images that cannot be read'
  config = own_images.config_of(tmp_path, counts_csv=str(table), strict=True)
  with pytest.raises(UserError, match=r'/b\.png cannot be read \(.+\); data\.strict=False'):
    image_folder.load(config, 'train')


def test_dangling_link_is_reported(tmp_path, caplog):
  own_images.save_named(tmp_path, ['a.png'])
  (tmp_path / 'b.png').symlink_to(tmp_path / 'nowhere.png')
  assert own_images.greys(image_folder.load(own_images.config_of(tmp_path), 'train')) == [10]
  assert 'leaving out' in caplog.text and 'No such file' in caplog.text


@pytest.mark.parametrize('form', ['PNG', 'TIFF'])
def test_what_the_memory_cannot_hold_is_unreadable(tmp_path, form, caplog, monkeypatch):
  monkeypatch.setattr(memory, 'of_machine', lambda: 2 * 12 * 50)  # 50 pixels
  own_images.save(np.zeros((15, 16), np.uint8), tmp_path / 'a.png', format=form)
  own_images.save(np.full((7, 7), 20, np.uint8), tmp_path / 'b.png', format=form)
  assert own_images.greys(image_folder.load(own_images.config_of(tmp_path), 'train')) == [20]
  assert 'a.png: it cannot be read (it needs about' in caplog.text


def test_more_pixels_than_pillow_warns_about_are_read(tmp_path, monkeypatch):
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
  own_images.save(np.full((5, 5), 20, np.uint8), tmp_path / 'a.png')
  assert own_images.greys(image_folder.load(own_images.config_of(tmp_path), 'train')) == [20]
  assert Image.MAX_IMAGE_PIXELS == 10
  with pytest.raises(Image.DecompressionBombError):  # others, such as the demo, keep to it
    pictures.open_header(tmp_path / 'a.png')


def test_folder_of_unreadable_images_is_refused(tmp_path):
  for name in ('a.png', 'b.png'):
    (tmp_path / name).write_bytes(b'')
  with pytest.raises(UserError, match='none of its 2 train images can be read, the last because'):
    image_folder.load(own_images.config_of(tmp_path), 'train')


def test_folder_without_images_is_refused(tmp_path):
  (tmp_path / 'a.svg').write_bytes(b'<svg/>')
  with pytest.raises(UserError, match=r'holds no images; .*\.png, \.jpg, \.jpeg, \.tif'):
    image_folder.load(own_images.config_of(tmp_path), 'train')


def test_missing_folder_is_refused(tmp_path):
  with pytest.raises(UserError, match=r"^data\.dir='' names no folder"):
    image_folder.load(own_images.config_of(''), 'train')
  own_images.save_named(tmp_path, ['a.png'])
  for path in (tmp_path / 'nowhere', tmp_path / 'a.png', '~no-such-user/nowhere'):
    with pytest.raises(UserError, match=rf"^data\.dir='{path}' is not a folder"):
      image_folder.load(own_images.config_of(path), 'train')


def test_log_tells_how_many_images_of_which_sizes_and_their_fit(tmp_path, caplog):
  for name, (height, width) in {'a.png': (9, 5), 'b.png': (2, 3), 'c.png': (4, 4)}.items():
    pixels = np.random.default_rng(0).integers(2, size=(height, width), dtype=np.uint8)
    own_images.save(255 * pixels, tmp_path / name)
  with caplog.at_level('INFO', logger='absl'):
    image_folder.load(own_images.config_of(tmp_path, fit='pad', canvas_size=4), 'train')
    for name in ('a.png', 'b.png'):
      (tmp_path / name).unlink()
    image_folder.load(own_images.config_of(tmp_path, fit='pad', canvas_size=4), 'train')
  start = f'train images from {tmp_path}, '
  assert caplog.messages == [
    f"3 {start}3x2..5x9 pixels wide x high, fitted to 4x4 by 'pad'",
    f'1 {start}4x4..4x4 pixels wide x high',
  ]


class Terminal(io.StringIO):
  """Takes what is shown on a terminal."""

  def isatty(self):
    return True


def test_progress_is_shown_on_a_terminal_for_many_images(tmp_path, monkeypatch):
  assert image_folder.QUIET_BELOW == 1001
  own_images.save_named(tmp_path, ['a.png', 'b.png', 'c.png'])
  shown = {}
  for limit in (3, 4):
    for stream in (Terminal(), io.StringIO()):
      monkeypatch.setattr(image_folder, 'QUIET_BELOW', limit)
      monkeypatch.setattr(sys, 'stderr', stream)
      image_folder.load(own_images.config_of(tmp_path), 'train')
      shown[limit, stream.isatty()] = stream.getvalue()
  assert '3/3' in shown.pop((3, True))
  assert set(shown.values()) == {''}


def photographs(path, names, shape=(120, 200), seed=0):
  """Pictures of noise, as large as photographs are beside a canvas."""
  generator = np.random.default_rng(seed)
  for name in names:
    own_images.save(generator.integers(0, 256, shape).astype(np.uint8), path / name)


def crop_config(path, **changes):
  return own_images.config_of(path, **({'canvas_size': 25, 'object_pixels': 18.0} | changes))


def test_large_images_are_scaled_and_split_by_name(tmp_path):
  photographs(tmp_path, [own_images.TRAIN_NAME, own_images.TEST_NAME])
  for split in ('train', 'test'):
    pieces = image_folder.load_crops(crop_config(tmp_path), split)
    assert pieces.sizes.tolist() == [[60, 100]] and pieces.pixels.shape == (1, 60, 100, 1)
  colour = image_folder.load_crops(crop_config(tmp_path, colour=True), 'train')
  assert colour.pixels.shape == (1, 60, 100, 3)


def test_of_one_large_image_a_part_is_held_out(tmp_path):
  photographs(tmp_path, ['a.png'])
  sizes = [
    image_folder.load_crops(crop_config(tmp_path), split).sizes.tolist()
    for split in ('train', 'test')
  ]
  assert sizes == [[[60, 80]], [[60, 25]]]  # filled up to the canvas
  source = loading.batch_source(crop_config(tmp_path), 3)
  indices = jax.tree.map(lambda x: x[0], source.sample_indices(0, 5, 1))
  images, counts = jax.jit(source.gather)(source.arrays, indices)
  assert images.shape == (3, 25, 25, 1) and counts is None
  scenes = loading.load(crop_config(tmp_path), 'test')
  assert scenes.images.shape == (500, 25, 25, 1) and (scenes.counts == -1).all()


def test_objects_larger_than_the_images_are_refused(tmp_path):
  photographs(tmp_path, ['a.png'])
  with pytest.raises(UserError, match=r'object_pixels=121: .*a\.png has 200x120 pixels wide'):
    image_folder.load_crops(crop_config(tmp_path, object_pixels=121.0), 'train')
  with pytest.raises(
    UserError, match=r"reading='stream' is not allowed with data\.source='folder'"
  ):
    loading.batch_source(crop_config(tmp_path, reading='stream'), 3)
