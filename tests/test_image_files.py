"""Files as cameras, microscopes and people make them: read rightly, or refused in one line."""

import io
import pathlib
import shutil

import mutations
import numpy as np
import own_images
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from air_jax.data import image_files, image_folder, levels
from air_jax.errors import UserError
from air_jax.runtime import memory

RNG = np.random.default_rng(0)
BYTES = RNG.integers(256, size=(6, 9), dtype=np.uint8)
DEEP = RNG.integers(2**16, size=(6, 9), dtype=np.uint16)
COLOUR = RNG.integers(256, size=(6, 9, 3), dtype=np.uint8)
DEEP_COLOUR = RNG.integers(2**16, size=(6, 9, 3), dtype=np.uint16)
FIVE = RNG.integers(256, size=(5, 6, 9), dtype=np.uint8)
FLOATS = (BYTES / 255).astype(np.float32)
BITS = 255 * (BYTES > 99).astype(np.uint8)[..., None]
WIDE = BYTES[:1].repeat(2000, 1)
HALF = np.full((6, 9, 1), 128, np.uint8)
SIX = Image.Exif()
SIX[0x0112] = 6  # to be turned clockwise by a quarter


def by_pillow(form, pixels, mode=None, **options):
  file = io.BytesIO()
  picture = Image.fromarray(pixels)
  (picture.convert(mode) if mode else picture).save(file, form, **options)
  return file.getvalue()


def by_tifffile(pixels, **options):
  file = io.BytesIO()
  tifffile.imwrite(file, pixels, **options)
  return file.getvalue()


def grey(array):
  return array[..., None]


# Content, the values to be read, and how far they may be off where the format loses some.
READ = {
  'grey.png': (by_pillow('PNG', BYTES), grey(BYTES), 0),
  'colour.png': (by_pillow('PNG', COLOUR), COLOUR, 0),
  '16 bit.png': (by_pillow('PNG', DEEP), grey(DEEP), 0),
  '12 in 16 bit.png': (by_pillow('PNG', DEEP >> 4), grey(DEEP >> 4), 0),
  'one bit.png': (by_pillow('PNG', BYTES > 99), BITS, 0),
  'palette.png': (by_pillow('PNG', COLOUR // 128 * 255, 'P'), COLOUR // 128 * 255, 0),
  'alpha.png': (by_pillow('PNG', np.dstack([COLOUR, HALF])), COLOUR * (128 / 255), 1),
  'grey alpha.png': (by_pillow('PNG', np.dstack([BYTES, HALF])), grey(BYTES) * (128 / 255), 1),
  'turned.png': (by_pillow('PNG', BYTES, exif=SIX), grey(np.rot90(BYTES, -1)), 0),
  'photo.JPG': (by_pillow('JPEG', HALF[..., 0], exif=SIX), np.full((9, 6, 1), 128), 1),
  'cmyk.jpg': (by_pillow('JPEG', np.dstack([HALF] * 3), 'CMYK'), np.full((6, 9, 3), 128), 2),
  'grey.bmp': (by_pillow('BMP', BYTES), grey(BYTES), 0),
  'colour.webp': (by_pillow('WEBP', COLOUR, lossless=True), COLOUR, 0),
  'two.gif': (by_pillow('GIF', HALF[..., 0], save_all=True, append_images=[Image.new('L', (9, 6))]),
    np.full((6, 9, 3), 128), 0),
  'grey.tif': (by_tifffile(BYTES), grey(BYTES), 0),
  '16 bit.tiff': (by_tifffile(DEEP), grey(DEEP), 0),
  'big end first.tif': (by_tifffile(DEEP, byteorder='>'), grey(DEEP), 0),
  'BigTIFF.tif': (by_tifffile(DEEP, bigtiff=True), grey(DEEP), 0),
  'tiles.tif': (by_tifffile(DEEP, tile=(16, 16), compression='zlib', predictor=2), grey(DEEP), 0),
  '16 bit colour.tif': (by_tifffile(DEEP_COLOUR, photometric='rgb'), DEEP_COLOUR, 0),
  'planes.tif': (by_tifffile(np.moveaxis(DEEP_COLOUR, -1, 0), photometric='rgb',
    planarconfig='separate'), DEEP_COLOUR, 0),
  'five channels.tif': (by_tifffile(FIVE, photometric='minisblack', planarconfig='separate'),
    np.moveaxis(FIVE, 0, -1), 0),
  'float.tif': (by_tifffile(FLOATS), grey(FLOATS), 0),
  'double.tif': (by_tifffile(FLOATS.astype(np.float64)), grey(FLOATS), 0),
  'half.tif': (by_tifffile(BYTES.astype(np.float16)), grey(BYTES.astype(np.float32)), 0),
  '32 bit.tif': (by_tifffile(DEEP.astype(np.uint32) * 8), grey(DEEP * 8.0), 0),
  'signed.tif': (by_tifffile(DEEP.astype(np.int32) - 99), grey(DEEP - 99.0), 0),
  'white is zero.tif': (by_tifffile(BYTES, photometric='miniswhite'), grey(255 - BYTES), 0),
  'bits.tif': (by_tifffile(BYTES > 99, photometric='minisblack'), BITS, 0),
  'alpha.tif': (by_tifffile(np.dstack([DEEP_COLOUR, DEEP]), photometric='rgb',
    extrasamples=['unassalpha']), DEEP_COLOUR * (DEEP[..., None] / 65535), 1),
  'turned.tif': (by_tifffile(DEEP, extratags=[(274, 3, 1, 8, True)]), grey(np.rot90(DEEP)), 0),
  'lzw.tif': (by_pillow('TIFF', DEEP, compression='tiff_lzw'), grey(DEEP), 0),
  'fax.tif': (by_pillow('TIFF', BYTES > 99, '1', compression='group4'), BITS, 0),
  'palette.tif': (by_pillow('TIFF', COLOUR // 128 * 255, 'P'), COLOUR // 128 * 255, 0),
  'cmyk.tif': (by_pillow('TIFF', COLOUR, 'CMYK'), COLOUR, 1),
  'a TIFF.png': (by_tifffile(DEEP), grey(DEEP), 0),
  'wide.png': (by_pillow('PNG', WIDE), grey(WIDE), 0),
}  # fmt: skip


@pytest.mark.parametrize('name', READ)
def test_every_kind_is_read_in_its_own_values(tmp_path, name):
  content, expected, tolerance = READ[name]
  (tmp_path / name).write_bytes(content)
  ((file,), left_out) = image_files.find(tmp_path)
  assert file.name == name and not left_out
  values = image_files.read(file)
  kind = expected.dtype if expected.dtype in (np.uint8, np.uint16, np.float32) else values.dtype
  assert values.shape == expected.shape and values.dtype == kind
  assert values.dtype in (np.uint8, np.uint16, np.float32)
  np.testing.assert_allclose(values.astype(float), expected, atol=tolerance)


REFUSED = {
  'empty.tif': (b'', 'cannot identify|only PNG'),
  'cut.tif': (by_tifffile(DEEP)[:-40], ''),
  'cut.png': (by_pillow('PNG', DEEP)[:60], ''),
  'complex.tif': (by_tifffile(FLOATS.astype(np.complex64)), 'this kind of TIFF is not read: 64'),
  'volume.tif': (by_tifffile(np.zeros((4, 32, 32), np.uint8), volumetric=True, tile=(4, 16, 16),
    photometric='minisblack'), 'it holds a volume'),
  'page.html.jpg': (b'<html>404</html>', 'only PNG, JPEG, TIFF, BMP, WEBP and GIF are read'),
  'photo.heic.jpg': (b'\0\0\0\x18ftypheic', 'only PNG'),
}  # fmt: skip


@pytest.mark.parametrize('name', REFUSED)
def test_what_cannot_be_read_is_named_in_one_line(tmp_path, name):
  content, reason = REFUSED[name]
  (tmp_path / name).write_bytes(content)
  shutil.copy(tmp_path / name, tmp_path / f'2{name}')  # one of the two is of the training split
  for split in ('train', 'test'):
    try:
      image_folder.load(own_images.config_of(tmp_path, strict=True), split)
    except UserError as error:
      assert '\n' not in str(error) and len(str(error)) < 400
      if 'has no' not in str(error):
        assert name in str(error) and 'cannot be read' in str(error)
        if reason:
          assert any(each in str(error) for each in reason.split('|'))
    else:
      raise AssertionError(f'{name} was read')


@mutations.examples()
@given(st.sampled_from([x for x, *_ in READ.values() if x[:2] in (b'II', b'MM')]).flatmap(
  mutations.damaged_bytes))  # fmt: skip
def test_a_damaged_tiff_is_a_picture_or_refused(tmp_path, content):
  (tmp_path / 'a.tif').write_bytes(content)
  files, _ = image_files.find(tmp_path)
  for file in files[:3]:
    try:
      values = image_files.read(file)
    except AssertionError:
      raise
    except Exception:  # nearly any type: the callers refuse the file
      continue
    assert values.ndim == 3 and values.dtype in (np.uint8, np.uint16, np.float32)


def test_each_page_is_a_picture_with_a_number(tmp_path):
  pages = RNG.integers(2**16, size=(3, 6, 9), dtype=np.uint16)
  with tifffile.TiffWriter(tmp_path / 'stack.tif') as file:
    for page in pages:
      file.write(page, contiguous=False)
    file.write(pages[0, ::2, ::2], subfiletype=1)  # a reduced copy is no picture of its own
  Image.fromarray(BYTES).save(
    tmp_path / 'a.tif',
    compression='tiff_lzw',
    save_all=True,
    append_images=[Image.new('L', (9, 6))],
  )
  files, _ = image_files.find(tmp_path)
  names = ['a.tif#1', 'a.tif#2', 'stack.tif#1', 'stack.tif#2', 'stack.tif#3']
  assert [file.name for file in files] == names
  for file, page in zip(files, [BYTES, 0 * BYTES, *pages], strict=True):
    np.testing.assert_array_equal(image_files.read(file)[..., 0], page)
  (tmp_path / 'counts.csv').write_text(''.join(f'{name},{i}\n' for i, name in enumerate(names)))
  config = own_images.config_of(tmp_path, counts_csv=str(tmp_path / 'counts.csv'))
  assert image_folder.load(config, 'train').counts.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('form', ['png', 'tif'])
def test_a_picture_of_a_hundred_megapixels_is_read(tmp_path, form):
  if memory.of_machine() < 6e9:
    pytest.skip('this machine has less than 6 GB of memory')
  path = tmp_path / f'a.{form}'
  pixels = np.zeros((10_000, 10_000), np.uint8)
  pixels[:, 5000:] = 200
  if form == 'tif':
    tifffile.imwrite(path, pixels, compression='zlib')
  else:
    Image.fromarray(pixels).save(path, compress_level=1)
  assert (own_images.only(tmp_path, canvas_size=4)[..., [0, 3], 0] == [0, 200]).all()


def test_files_that_are_no_pictures_are_named_once(tmp_path, caplog):
  for name in ('notes.txt', 'b/movie.mp4', 'counts.csv'):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('a.png,1')
  own_images.save_named(tmp_path, ['a.png', own_images.TEST_NAME])
  config = own_images.config_of(tmp_path, counts_csv=str(tmp_path / 'counts.csv'))
  for split in ('train', 'test'):
    image_folder.load(config, split)
  said = [line for line in caplog.messages if 'by the suffix' in line]
  assert said == [
    f'left out 2 files that are no pictures by the suffix: b/movie.mp4, notes.txt, in {tmp_path}'
  ]


ODD = pathlib.Path(__file__).parents[2] / 'shared' / 'data' / 'real' / 'odd'


@pytest.mark.skipif(not ODD.exists(), reason='the folder of odd files is not here')
def test_odd_files_of_other_people_are_read_and_stretched(tmp_path):
  for file in image_files.find(ODD)[0]:
    values = image_files.read(file)
    black, white = levels.measure(levels.sample(values, 1))
    seen = levels.to_bytes(values, (black, white), False)
    assert np.percentile(seen, 1) < 10 and np.percentile(seen, 99.8) > 245, file.name
