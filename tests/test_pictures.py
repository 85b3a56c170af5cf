"""Pictures of a folder of own images: fitted to the canvas, turned upright, converted."""

import io
import tracemalloc
import types

import numpy as np
import own_images
import pytest
import samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image, UnidentifiedImageError

from air_jax.data import pictures, preparation
from air_jax.runtime import strips


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
  own_images.save(picture, tmp_path / own_images.TRAIN_NAME)
  reference = min(sides) if fit == 'crop' else max(sides)
  target = (8, 8) if fit == 'squash' else [max(1, round(side * 8 / reference)) for side in sides]
  expected = resized(picture.astype(float), *target)
  if fit == 'crop':
    top, left = ((side - 8) // 2 for side in target)
    expected = expected[top : top + 8, left : left + 8]
  else:
    before = [(8 - side) // 2 for side in target]
    expected = np.pad(expected, [(b, 8 - s - b) for b, s in zip(before, target, strict=True)])
  image = own_images.only(tmp_path, fit=fit, canvas_size=8)
  assert image.dtype == np.uint8 and image.shape == (8, 8, 1)
  np.testing.assert_allclose(image[..., 0], expected, atol=1.5)  # Pillow rounds after each axis


def test_two_colours_cropped_padded_and_squashed(tmp_path):
  picture = np.zeros((4, 8, 3), np.uint8)
  picture[:, :4], picture[:, 4:] = (250, 0, 0), (0, 0, 250)
  own_images.save(picture, tmp_path / own_images.TRAIN_NAME)
  red, blue, black = [250, 0, 0], [0, 0, 250], [0, 0, 0]
  crop = own_images.only(tmp_path, fit='crop', canvas_size=4, colour=True)
  assert crop.tolist() == [[red, red, blue, blue]] * 4
  pad = own_images.only(tmp_path, fit='pad', canvas_size=4, colour=True)
  assert pad[[0, 3]].tolist() == [[black] * 4] * 2
  squash = own_images.only(tmp_path, fit='squash', canvas_size=4, colour=True)
  for rows in (pad[1:3], squash):
    assert (rows[:, 0] == red).all() and (rows[:, 3] == blue).all()
    assert (rows[:, 1, 0] > 200).all() and (rows[:, 2, 2] > 200).all()


@pytest.mark.parametrize('dtype, high, read', [(np.uint8, 200, 200), (np.uint16, 25700, 100)])
def test_orientation_is_respected(tmp_path, dtype, high, read):
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned clockwise by a quarter
  own_images.save(
    np.array([[high, high], [0, 0]], dtype), tmp_path / own_images.TRAIN_NAME, exif=exif
  )
  assert own_images.only(tmp_path)[..., 0].tolist() == [[0, read], [0, read]]


def test_jpeg_photograph_is_upright_before_it_is_fitted(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 3  # upside down
  picture = np.repeat(np.array([[255], [255], [0], [0]], np.uint8), 8, 0).repeat(16, 1)
  own_images.save(picture, tmp_path / 'a.jpg', exif=exif, quality=95)
  image = own_images.only(tmp_path, fit='crop', canvas_size=16)[..., 0]
  assert (image[:8] < 5).all() and (image[8:] > 250).all()


COLOUR = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [90, 90, 90]]], np.uint8)


@pytest.mark.parametrize('mode', ['RGB', 'P', 'RGBA', 'CMYK'])
def test_colour_and_grey(tmp_path, mode):
  picture = Image.fromarray(COLOUR)
  picture = picture.quantize(4) if mode == 'P' else picture.convert(mode)
  # JPEG would smear CMYK, and PNG cannot hold it; a file's content says what it is.
  picture.save(tmp_path / own_images.TRAIN_NAME, format='TIFF' if mode == 'CMYK' else 'PNG')
  np.testing.assert_allclose(own_images.only(tmp_path, colour=True).astype(int), COLOUR, atol=1)
  luma = COLOUR @ [0.299, 0.587, 0.114]  # ITU-R BT.601
  np.testing.assert_allclose(own_images.only(tmp_path)[..., 0], luma, atol=1)


@pytest.mark.parametrize('mode', ['1', 'L'])
def test_grey_in_colour_has_equal_channels(tmp_path, mode):
  picture = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert(mode)
  picture.save(tmp_path / own_images.TRAIN_NAME)
  image = own_images.only(tmp_path, colour=True)
  assert image.tolist() == [[[0] * 3, [255] * 3], [[255] * 3, [0] * 3]]


def test_alpha_is_composited_on_black(tmp_path):
  clear, half, solid = (200, 100, 50, 0), (200, 100, 50, 128), (200, 100, 50, 255)
  own_images.save(
    np.array([[clear, half], [half, solid]], np.uint8), tmp_path / own_images.TRAIN_NAME
  )
  expected = np.array([[[0, 0, 0], [100, 50, 25]], [[100, 50, 25], [200, 100, 50]]])
  np.testing.assert_allclose(own_images.only(tmp_path, colour=True).astype(int), expected, atol=1)
  luma = expected @ [0.299, 0.587, 0.114]
  np.testing.assert_allclose(own_images.only(tmp_path)[..., 0], luma, atol=1)


def test_transparent_entry_of_a_palette_is_black(tmp_path):
  picture = Image.new('P', (2, 2), 1)
  picture.putpalette([255, 255, 255, 240, 0, 0])
  picture.putpixel((1, 0), 0)
  picture.save(tmp_path / own_images.TRAIN_NAME, transparency=b'\0\xff')
  red = [240, 0, 0]
  assert own_images.only(tmp_path, colour=True).tolist() == [[red, [0, 0, 0]], [red, red]]


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
  own_images.save(np.array(given, dtype), tmp_path / own_images.TRAIN_NAME, format=form)
  assert own_images.only(tmp_path)[..., 0].tolist() == read
  assert own_images.only(tmp_path, colour=True)[..., 2].tolist() == read


def test_every_deep_grey_is_rounded_to_the_nearest_byte():
  every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
  read = shown(pictures.open_header(stored(every, 'PNG')))
  np.testing.assert_array_equal(read, np.round(every / 257))


@pytest.mark.parametrize('dtype, form', [(np.uint16, 'PNG'), (np.float32, 'TIFF')])
def test_a_large_deep_grey_takes_no_large_arrays(dtype, form):
  values = np.full((3000, 3000), 300, dtype)
  values[-1, -1] = 600  # the largest of all strips
  file = stored(values, form)
  tracemalloc.start()
  try:
    read = shown(pictures.open_header(file))
    peak = tracemalloc.get_traced_memory()[1]
    assert peak < 3 * values.nbytes + 30e6  # the file, the values; float64 would be 72 MB each time
  finally:
    tracemalloc.stop()
  assert read[0, 0] == (1 if dtype == np.uint16 else 128)  # 300 / 600 of 255, to even


def shown(picture, colour=False):
  """What a person would see of a picture, at its own size."""
  prepared = preparation.prepare(pictures.values(picture), samples.data_config())
  return np.asarray(prepared.picture.convert('RGB' if colour else 'L'))


def stored(pixels, form, **options):
  file = io.BytesIO()
  picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
  picture.save(file, form, **options)
  return file


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
%%EndComments
showpage
%%EOF
"""


def test_no_other_program_is_started(monkeypatch):
  started = []
  monkeypatch.setattr(EpsImagePlugin, 'Ghostscript', lambda *args: started.append(args))
  with pytest.raises(UnidentifiedImageError, match='only PNG, JPEG, TIFF, BMP, WEBP and GIF are'):
    pictures.open_header(io.BytesIO(EPS))
  assert not started


@pytest.mark.parametrize('form', pictures.FORMATS)
def test_every_format_that_is_named_is_read(form):
  file = stored(Image.new('RGB', (8, 8), (255, 0, 255)), form)
  assert pictures.open_header(file).format == form
  red, green, blue = shown(pictures.open_header(file), colour=True)[4, 4]
  assert red > 250 and green < 5 and blue > 250


def test_a_tile_counts_as_what_is_decoded():
  sides = {'width': 10, 'height': 20}
  assert pictures.decoded_pixels(types.SimpleNamespace(**sides)) == 200
  tiles = {322: 300, 323: 400}
  assert pictures.decoded_pixels(types.SimpleNamespace(**sides, tag_v2=tiles)) == 120_000


MODES = ['1', 'L', 'P', 'RGB', 'RGBA', 'LA', 'I;16', 'CMYK', 'F']


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('strip', [50, 1 << 20])  # pixels; strips must fit together
def test_a_large_picture_is_averaged_over_squares(monkeypatch, mode, strip):
  monkeypatch.setattr(pictures, '_STRIP', strip)
  monkeypatch.setattr(strips, '_VALUES', strip)
  blocks = 50 * np.random.default_rng(0).integers(2, 5, (5, 7), np.uint8)
  blocks = 250 * (blocks // 150) if mode == '1' else blocks
  whole = blocks.repeat(4, 0).repeat(4, 1)
  if mode == 'I;16':
    picture = Image.fromarray(whole.astype(np.uint16) * 257)
  elif mode == 'P':
    picture = Image.fromarray(whole).quantize(8)
  else:
    picture = Image.fromarray(whole).convert(mode)
  form = 'TIFF' if mode in ('CMYK', 'F') else 'PNG'
  exif = Image.Exif()
  exif[0x0112] = 3  # upside down
  file = pictures.open_header(stored(picture, form, exif=exif))
  reduced = shown(pictures.reduce(file, 35))
  assert reduced.shape == (5, 7)
  np.testing.assert_allclose(reduced.astype(int), blocks[::-1, ::-1], atol=5)


def test_a_photograph_is_decoded_at_a_smaller_size():
  picture = np.zeros((80, 160), np.uint8)
  picture[:, :80] = 200
  file = pictures.open_header(stored(picture, 'JPEG', quality=95))
  reduced = pictures.reduce(file, 200)
  assert file.size == (20, 10) == reduced.size
  assert (np.asarray(reduced)[:, :9] > 190).all() and (np.asarray(reduced)[:, 11:] < 10).all()


def test_transparency_survives_the_reduction():
  picture = Image.new('P', (40, 40), 1)
  picture.putpalette([255, 255, 255, 240, 0, 0])
  picture.paste(0, (0, 0, 20, 40))
  for clear in (picture, picture.convert('RGB')):
    key = 0 if clear.mode == 'P' else (255, 255, 255)
    file = pictures.open_header(stored(clear, 'PNG', transparency=key))
    read = shown(pictures.reduce(file, 25), colour=True)
    assert not read[:, 0].any() and read[0, -1].tolist() == [240, 0, 0]


WHOLE = [
  stored(Image.linear_gradient('L').resize((9, 9)), form).getvalue() for form in pictures.FORMATS
]


@settings(
  max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)  # no limits of time: the machine may be busy
@given(
  st.sampled_from(WHOLE), st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=4)
)
def test_a_damaged_file_is_a_picture_or_an_exception(whole, damages):
  for where, data in damages:
    at = int(where * len(whole))
    whole = whole[:at] + data + whole[at + len(data) - (len(data) > 4) :]
  try:
    file = pictures.open_header(io.BytesIO(whole))
    assert pictures.decoded_pixels(file) >= 0
    if pictures.decoded_pixels(file) < 1_000_000:
      picture = shown(pictures.reduce(file, 20))
      assert picture.dtype == np.uint8 and picture.ndim == 2 and picture.size
  except AssertionError:
    raise
  except Exception:  # nearly any type: the callers refuse the file
    pass


@pytest.mark.parametrize('how', ['crop', 'pad', 'squash'])
@pytest.mark.parametrize('size', [(40, 100), (100, 40), (60, 60), (7, 5)])
def test_label_images_go_back_to_where_boxes_do(how, size):
  canvas = 20
  labels = np.zeros((canvas, canvas), np.int32)
  labels[6:12, 8:16] = 3
  back = pictures.unfit_labels(labels, size, how)
  assert back.shape == size[::-1]
  top, left, height, width = pictures.unfit(np.array([6.0, 8, 6, 8]), size, canvas, how)
  rows, columns = np.nonzero(back == 3)
  scale = max(size) / canvas  # of one pixel of the canvas
  found = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
  np.testing.assert_allclose(found, [top, left, top + height, left + width], atol=max(1, scale))
  assert set(np.unique(back)) == {0, 3}
