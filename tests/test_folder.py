"""A person's own images as scenes: fitted, converted, split by name, counted, and spoilt ones."""

import hashlib
import io
import sys
import types
import warnings

import numpy as np
import pytest
from PIL import Image

from air_jax.data import folder
from air_jax.errors import UserError

TRAIN_NAME, TEST_NAME = 'a.png', '0.png'  # which split a name falls to never changes


def config_of(path, **changes):
  fields = {'counts_csv': '', 'fit': 'squash', 'strict': False, 'canvas_size': 2, 'colour': False}
  return types.SimpleNamespace(dir=str(path), **(fields | changes))


def save(array, path, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.asarray(array)).save(path, **options)


def save_named(path, names):
  """One-pixel images of grey 10, 20, ... which tell where each went."""
  for k, name in enumerate(names):
    save(np.full((1, 1), 10 * (k + 1), np.uint8), path / name)


def greys(scenes):
  assert (scenes.images == scenes.images[:, :1, :1]).all()
  return scenes.images[:, 0, 0, 0].tolist()


def only(path, **changes):
  """The one training image of a folder, [S, S, C]."""
  (image,) = folder.load(config_of(path, **changes), 'train').images
  return image


def resized(picture, height, width):
  """[H, W] resampled by triangles, widened where the picture shrinks."""
  for axis, side in enumerate((height, width)):
    size = picture.shape[axis]
    factor = size / side
    offsets = (np.arange(side)[:, None] + 0.5) * factor - (np.arange(size) + 0.5)
    weights = np.maximum(0, 1 - abs(offsets) / max(factor, 1))
    weights /= weights.sum(1, keepdims=True)
    picture = np.moveaxis(np.tensordot(weights, picture, (1, axis)), 0, axis)
  return picture


# Heights and widths of which a crop to 8 pixels has as much to cut on either side, in whole pixels.
@pytest.mark.parametrize('sides', [(40, 20), (20, 40), (4, 6), (100, 1), (8, 8)])
@pytest.mark.parametrize('fit', ['crop', 'pad', 'squash'])
def test_fit_is_that_of_triangle_resampling(tmp_path, sides, fit):
  picture = np.random.default_rng(0).integers(256, size=sides, dtype=np.uint8)
  save(picture, tmp_path / TRAIN_NAME)
  reference = min(sides) if fit == 'crop' else max(sides)
  target = (8, 8) if fit == 'squash' else [max(1, round(side * 8 / reference)) for side in sides]
  expected = resized(picture.astype(float), *target)
  if fit == 'crop':
    top, left = ((side - 8) // 2 for side in target)
    expected = expected[top : top + 8, left : left + 8]
  else:
    before = [(8 - side) // 2 for side in target]
    expected = np.pad(expected, [(b, 8 - s - b) for b, s in zip(before, target, strict=True)])
  image = only(tmp_path, fit=fit, canvas_size=8)
  assert image.dtype == np.uint8 and image.shape == (8, 8, 1)
  np.testing.assert_allclose(image[..., 0], expected, atol=1.5)  # Pillow rounds after each axis


def test_two_colours_cropped_padded_and_squashed(tmp_path):
  picture = np.zeros((4, 8, 3), np.uint8)
  picture[:, :4], picture[:, 4:] = (250, 0, 0), (0, 0, 250)
  save(picture, tmp_path / TRAIN_NAME)
  red, blue, black = [250, 0, 0], [0, 0, 250], [0, 0, 0]
  crop = only(tmp_path, fit='crop', canvas_size=4, colour=True)
  assert crop.tolist() == [[red, red, blue, blue]] * 4
  pad = only(tmp_path, fit='pad', canvas_size=4, colour=True)
  assert pad[[0, 3]].tolist() == [[black] * 4] * 2
  squash = only(tmp_path, fit='squash', canvas_size=4, colour=True)
  for rows in (pad[1:3], squash):
    assert (rows[:, 0] == red).all() and (rows[:, 3] == blue).all()
    assert (rows[:, 1, 0] > 200).all() and (rows[:, 2, 2] > 200).all()


@pytest.mark.parametrize('dtype, high, read', [(np.uint8, 200, 200), (np.uint16, 25700, 100)])
def test_orientation_is_respected(tmp_path, dtype, high, read):
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned clockwise by a quarter
  save(np.array([[high, high], [0, 0]], dtype), tmp_path / TRAIN_NAME, exif=exif)
  assert only(tmp_path)[..., 0].tolist() == [[0, read], [0, read]]


def test_jpeg_photograph_is_upright_before_it_is_fitted(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 3  # upside down
  picture = np.repeat(np.array([[255], [255], [0], [0]], np.uint8), 8, 0).repeat(16, 1)
  save(picture, tmp_path / 'a.jpg', exif=exif, quality=95)
  image = only(tmp_path, fit='crop', canvas_size=16)[..., 0]
  assert (image[:8] < 5).all() and (image[8:] > 250).all()


COLOUR = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [90, 90, 90]]], np.uint8)


@pytest.mark.parametrize('mode', ['RGB', 'P', 'RGBA', 'CMYK'])
def test_colour_and_grey(tmp_path, mode):
  picture = Image.fromarray(COLOUR)
  picture = picture.quantize(4) if mode == 'P' else picture.convert(mode)
  # JPEG would smear CMYK, and PNG cannot hold it; a file's content says what it is.
  picture.save(tmp_path / TRAIN_NAME, format='TIFF' if mode == 'CMYK' else 'PNG')
  np.testing.assert_allclose(only(tmp_path, colour=True).astype(int), COLOUR, atol=1)
  luma = COLOUR @ [0.299, 0.587, 0.114]  # ITU-R BT.601
  np.testing.assert_allclose(only(tmp_path)[..., 0], luma, atol=1)


@pytest.mark.parametrize('mode', ['1', 'L'])
def test_grey_in_colour_has_equal_channels(tmp_path, mode):
  picture = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert(mode)
  picture.save(tmp_path / TRAIN_NAME)
  image = only(tmp_path, colour=True)
  assert image.tolist() == [[[0] * 3, [255] * 3], [[255] * 3, [0] * 3]]


def test_alpha_is_composited_on_black(tmp_path):
  clear, half, solid = (200, 100, 50, 0), (200, 100, 50, 128), (200, 100, 50, 255)
  save(np.array([[clear, half], [half, solid]], np.uint8), tmp_path / TRAIN_NAME)
  expected = np.array([[[0, 0, 0], [100, 50, 25]], [[100, 50, 25], [200, 100, 50]]])
  np.testing.assert_allclose(only(tmp_path, colour=True).astype(int), expected, atol=1)
  luma = expected @ [0.299, 0.587, 0.114]
  np.testing.assert_allclose(only(tmp_path)[..., 0], luma, atol=1)


def test_transparent_entry_of_a_palette_is_black(tmp_path):
  picture = Image.new('P', (2, 2), 1)
  picture.putpalette([255, 255, 255, 240, 0, 0])
  picture.putpixel((1, 0), 0)
  picture.save(tmp_path / TRAIN_NAME, transparency=b'\0\xff')
  red = [240, 0, 0]
  assert only(tmp_path, colour=True).tolist() == [[red, [0, 0, 0]], [red, red]]


@pytest.mark.parametrize(
  'dtype, given, read',
  [
    (np.uint16, [[0, 257], [128 * 257, 65535]], [[0, 1], [128, 255]]),
    (np.uint16, [[0, 100], [257, 514]], [[0, 0], [1, 2]]),  # by the range, not by the maximum
    (np.int32, [[0, 100], [200, 255]], [[0, 100], [200, 255]]),
    (np.int32, [[-5, 2], [200, 510]], [[0, 1], [100, 255]]),
    (np.float32, [[0, 1], [99.6, 255]], [[0, 1], [100, 255]]),
    (np.float32, [[np.nan, 4], [400, 1020]], [[0, 1], [100, 255]]),
  ],
)
def test_deep_greys_are_scaled_to_eight_bits(tmp_path, dtype, given, read):
  form = 'PNG' if dtype == np.uint16 else 'TIFF'  # what PNG cannot hold
  save(np.array(given, dtype), tmp_path / TRAIN_NAME, format=form)
  assert only(tmp_path)[..., 0].tolist() == read
  assert only(tmp_path, colour=True)[..., 2].tolist() == read


def test_images_are_found_at_any_depth_and_sorted_by_name(tmp_path):
  names = ['z.png', 'a/z.PNG', 'a.png', 'a-b.png', 'x/y.png']  # all of the training split
  save_named(tmp_path, names)
  (tmp_path / 'notes.txt').write_text('no image')
  (tmp_path / 'g.png').mkdir()
  scenes = folder.load(config_of(tmp_path), 'train')
  assert greys(scenes) == [40, 30, 20, 50, 10]  # '-' < '.' < '/'


@pytest.mark.parametrize('name', ['a.jpg', 'a.JpEg', 'f.png'])
def test_suffixes(tmp_path, name):
  save(np.full((8, 8), 70, np.uint8), tmp_path / name)
  assert greys(folder.load(config_of(tmp_path), 'train')) == [70]


def test_home_folder_is_expanded(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  save_named(tmp_path / 'photos', [TRAIN_NAME])
  (tmp_path / 'counts.csv').write_text(f'{TRAIN_NAME},3\n')
  scenes = folder.load(config_of('~/photos', counts_csv='~/counts.csv'), 'train')
  assert greys(scenes) == [10] and scenes.counts.tolist() == [3]


def test_split_is_disjoint_and_complete_and_stays_when_images_are_added(tmp_path):
  def split():
    return [set(greys(folder.load(config_of(tmp_path), name))) for name in ('train', 'test')]

  def add(values):
    for value in values:
      save(np.full((1, 1), value, np.uint8), tmp_path / f'{value * 37 % 251}.png')

  add(range(100))
  train, test = split()
  assert not train & test and train | test == set(range(100))
  hashes = {v: hashlib.sha256(f'{v * 37 % 251}.png'.encode()).hexdigest() for v in range(200)}
  assert test == {v for v in range(100) if int(hashes[v], 16) / 2**256 < 0.2}
  add(range(100, 200))
  more_train, more_test = split()
  assert train < more_train and test < more_test
  assert not more_train & more_test and more_train | more_test == set(range(200))


@pytest.mark.parametrize('name, lacking', [(TRAIN_NAME, 'test'), (TEST_NAME, 'train')])
def test_empty_split_is_refused(tmp_path, name, lacking):
  save_named(tmp_path, [name])
  with pytest.raises(UserError, match=f'has no {lacking} images.* its 1 fell to {lacking}'):
    folder.load(config_of(tmp_path), lacking)


def test_nothing_is_known_without_counts(tmp_path):
  save_named(tmp_path, ['a.png', 'b.png'])
  scenes = folder.load(config_of(tmp_path), 'train')
  assert scenes.counts.tolist() == [-1, -1]
  shapes = {name: (value.shape, value.dtype) for name, value in scenes._asdict().items()}
  assert shapes == {
    'images': ((2, 2, 2, 1), np.uint8),
    'counts': ((2,), np.int32),
    'boxes': ((2, 0, 4), np.float32),
    'labels': ((2, 0), np.int32),
    'scales': ((2, 0), np.float32),
    'rotations': ((2, 0), np.float32),
  }


@pytest.mark.parametrize('start', ['', 'name,count\n', '\ufeffname,count\r\n'])
def test_counts_go_to_the_images_named(tmp_path, start):
  save_named(tmp_path, ['a.png', 'a/z.PNG', 'b.png', 'z.png', TEST_NAME, 'ä, b.png'])
  table = tmp_path / 'counts.csv'
  lines = f'{start}z.png, 4\n\na/z.PNG,0\n{TEST_NAME},7\n"ä, b.png",12\na.png,2'
  table.write_text(lines, encoding='utf-8')
  config = config_of(tmp_path, counts_csv=str(table))
  train, test = folder.load(config, 'train'), folder.load(config, 'test')
  assert list(zip(greys(train), train.counts, strict=True)) == [(10, 2), (20, 0), (30, -1), (40, 4)]
  assert list(zip(greys(test), test.counts, strict=True)) == [(50, 7), (60, 12)]


@pytest.mark.parametrize(
  'content, complaint',
  [
    (b'name,count\na.png\n', 'line 2 has 1 fields; it must have two'),
    (b'a.png,1,2\n', 'line 1 has 3 fields; it must have two'),
    (b'a.png,1\nb.png,-1\n', "line 2: the count '-1' must be a whole number >= 0"),
    (b'a.png,1.5\n', "line 1: the count '1.5' must be a whole number"),
    (b'a.png,\n', "line 1: the count '' must be a whole number"),
    (b'a.png,9999999999\n', 'line 1: the count .* at most 9 digits'),
    (b'a.png,1\nname,count\n', "line 2: the count 'count'"),  # a header stands at the top
    (b'a.png,1\nq.png,1\n', r"line 2: 'q\.png' is no image of data\.dir; .* as in 'a\.png'"),
    (b'a.png,1\nb.png,1\na.png,1\n', r"line 3: 'a\.png' was listed before"),
    (b'a.png,1\n"b.png,1\n', 'line 2 is no line of CSV'),
    (b'\xff\xfe\xfa', 'cannot be read .*; it must be a UTF-8 file'),
    (None, 'cannot be read .*No such file'),
  ],
)
def test_bad_counts_are_named(tmp_path, content, complaint):
  save_named(tmp_path, ['a.png', 'b.png'])
  table = tmp_path / 'counts.csv'
  if content is not None:
    table.write_bytes(content)
  with pytest.raises(UserError, match=rf'^data\.counts_csv=.*/counts\.csv.*{complaint}'):
    folder.load(config_of(tmp_path, counts_csv=str(table)), 'train')


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
  save_named(tmp_path, ['a.png', 'b.png', 'c.png'])
  (tmp_path / 'b.png').write_bytes(spoilt_files()[damage])
  table = tmp_path / 'counts.csv'
  table.write_text('a.png,1\nb.png,2\nc.png,3\n')
  config = config_of(tmp_path, counts_csv=str(table))
  scenes = folder.load(config, 'train')
  assert greys(scenes) == [10, 30] and scenes.counts.tolist() == [1, 3]
  each, total = caplog.messages
  assert each.startswith(f'leaving out {tmp_path / "b.png"}: it cannot be read (')
  assert not each.endswith('()')
  assert total == 'left out 1 of 3 train images that cannot be read'
  config.strict = True
  with pytest.raises(UserError, match=r'/b\.png cannot be read \(.+\); data\.strict=False'):
    folder.load(config, 'train')


def test_dangling_link_is_reported(tmp_path, caplog):
  save_named(tmp_path, ['a.png'])
  (tmp_path / 'b.png').symlink_to(tmp_path / 'nowhere.png')
  assert greys(folder.load(config_of(tmp_path), 'train')) == [10]
  assert 'leaving out' in caplog.text and 'No such file' in caplog.text


@pytest.mark.parametrize('side', [4, 5])  # Pillow warns above its limit, and raises above twice it
def test_decompression_bomb_is_unreadable(tmp_path, side, caplog, monkeypatch):
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
  save(np.zeros((side, side), np.uint8), tmp_path / 'a.png')
  save(np.full((3, 3), 20, np.uint8), tmp_path / 'b.png')
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    assert greys(folder.load(config_of(tmp_path), 'train')) == [20]
  assert 'a.png: it cannot be read (Image size' in caplog.text


def test_folder_of_unreadable_images_is_refused(tmp_path):
  for name in ('a.png', 'b.png'):
    (tmp_path / name).write_bytes(b'')
  with pytest.raises(UserError, match='none of its 2 train images can be read, the last because'):
    folder.load(config_of(tmp_path), 'train')


def test_folder_without_images_is_refused(tmp_path):
  (tmp_path / 'a.gif').write_bytes(b'GIF89a')
  with pytest.raises(UserError, match=r'holds no images; .*\.png, \.jpg, \.jpeg'):
    folder.load(config_of(tmp_path), 'train')


def test_missing_folder_is_refused(tmp_path):
  with pytest.raises(UserError, match=r"^data\.dir='' names no folder"):
    folder.load(config_of(''), 'train')
  save_named(tmp_path, ['a.png'])
  for path in (tmp_path / 'nowhere', tmp_path / 'a.png', '~no-such-user/nowhere'):
    with pytest.raises(UserError, match=rf"^data\.dir='{path}' is not a folder"):
      folder.load(config_of(path), 'train')


def test_log_tells_how_many_images_of_which_sizes_and_their_fit(tmp_path, caplog):
  for name, (height, width) in {'a.png': (9, 5), 'b.png': (2, 3), 'c.png': (4, 4)}.items():
    save(np.zeros((height, width), np.uint8), tmp_path / name)
  with caplog.at_level('INFO', logger='absl'):
    folder.load(config_of(tmp_path, fit='pad', canvas_size=4), 'train')
    for name in ('a.png', 'b.png'):
      (tmp_path / name).unlink()
    folder.load(config_of(tmp_path, fit='pad', canvas_size=4), 'train')
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
  assert folder.QUIET_BELOW == 1001
  save_named(tmp_path, ['a.png', 'b.png', 'c.png'])
  shown = {}
  for limit in (3, 4):
    for stream in (Terminal(), io.StringIO()):
      monkeypatch.setattr(folder, 'QUIET_BELOW', limit)
      monkeypatch.setattr(sys, 'stderr', stream)
      folder.load(config_of(tmp_path), 'train')
      shown[limit, stream.isatty()] = stream.getvalue()
  assert '3/3' in shown.pop((3, True))
  assert set(shown.values()) == {''}
