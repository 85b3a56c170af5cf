"""What is known about pictures: label images, and how they go with counts and points."""

import pathlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from air_jax.data import label_images, picture_truth
from air_jax.errors import UserError

NAMES = ['a.png', 'b/c.jpg', 'd, e.png']
LABELS = np.array([[0, 0, 300], [7, 7, 300]])  # beyond 8 bits


def truth_of(folder, table='', size=(2, 3), name='a.png'):
  return picture_truth.read(picture_truth.find(folder, [name], table)[name], size)


def save(path, labels):
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix.lower().startswith('.tif'):
    tifffile.imwrite(path, labels)
  else:
    Image.fromarray(labels).save(path)


@pytest.mark.parametrize(
  'name, dtype',
  [
    ('a_mask.png', np.uint16),
    ('a_masks.TIF', np.uint16),
    ('a_label.tiff', np.int64),
    ('a_labels.tif', np.float32),
    ('masks/a.png', np.uint16),
    ('labels/a.tif', np.uint32),
    ('../masks/a.png', np.uint16),
  ],
)
def test_label_images_are_found_and_counted(tmp_path, name, dtype):
  folder = tmp_path / 'images'
  save(folder / name, LABELS.astype(dtype))
  truth = truth_of(folder)
  np.testing.assert_array_equal(truth.labels, LABELS)
  assert truth.labels.dtype == np.int32 and truth.count == 2 and truth.points is None


def test_label_images_of_8_bits_of_a_palette_and_of_equal_colours(tmp_path):
  small = LABELS.astype(np.uint8)
  indexed = Image.fromarray(small).convert('P')
  indexed.putdata(small.ravel().tolist())
  grey = Image.fromarray(small)
  for image in (grey, indexed, grey.convert('RGB'), grey.convert('LA'), grey.convert('RGBA')):
    image.save(tmp_path / 'a_mask.png')
    np.testing.assert_array_equal(truth_of(tmp_path).labels, small)
  save(tmp_path / 'a_mask.png', np.zeros((2, 3), np.uint8))
  assert truth_of(tmp_path).count == 0


def test_compressed_tiff_is_read_without_further_packages(tmp_path):
  for compression in ('tiff_lzw', 'tiff_adobe_deflate'):
    Image.fromarray(LABELS.astype(np.uint16)).save(tmp_path / 'a_mask.tif', compression=compression)
    np.testing.assert_array_equal(truth_of(tmp_path).labels, LABELS)


@pytest.mark.parametrize(
  'name, labels, complaint',
  [
    ('a_mask.png', LABELS.T.astype(np.uint8), r'is 2x3 pixels .* picture .*/a\.png 3x2; they must'),
    ('a_mask.tif', LABELS.T, r'is 2x3 pixels .* picture .*/a\.png 3x2; they must be the same'),
    ('a_mask.tif', np.zeros((5, 2, 7), np.uint8), 'has 5x2x7 pixels; it must be one flat image'),
    ('a_mask.tif', LABELS - 1, 'has values beyond 0..2147483647'),
    ('a_mask.tif', LABELS + 2**31, 'has values beyond 0..2147483647'),
    ('a_mask.tif', LABELS + np.float32(0.5), 'has values that are no whole numbers'),
    ('a_mask.tif', LABELS * np.float32('nan'), 'has values beyond'),
    ('a_mask.jpg', LABELS.astype(np.uint8), 'is a JPEG or WebP file'),
    ('a_mask.png', np.eye(3, dtype=np.uint8)[:2] * 255, None),
    (
      'a_mask.png',
      np.array([[255, 0, 255]] * 2, np.uint8),
      'has 2 separate areas, all with .* 255',
    ),
    ('a_mask.png', np.array([[[0, 0, 5]] * 3] * 2, np.uint8), 'has colours'),  # in blue alone
  ],
)
def test_bad_label_images_are_named(tmp_path, name, labels, complaint):
  save(tmp_path / name, labels)
  if complaint is None:  # diagonal neighbours are one area
    assert truth_of(tmp_path).count == 1
    return
  with pytest.raises(UserError, match=rf'^{tmp_path}/{name} {complaint}') as error:
    truth_of(tmp_path)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', ['a_mask.png', 'a_mask.tif'])
def test_damaged_label_images_are_named(tmp_path, name):
  save(tmp_path / name, LABELS.astype(np.uint16))
  whole = (tmp_path / name).read_bytes()
  for content in (b'', b'<html>', whole[: len(whole) // 2]):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf'/{name} cannot be read \(.+\)'):
      truth_of(tmp_path)


def test_areas_of_one_small_number_count_as_one_object(tmp_path, caplog):
  save(tmp_path / 'a_mask.png', np.array([[1, 0, 1]] * 2, np.uint8))
  assert truth_of(tmp_path).count == 1
  assert 'has 2 separate areas, all with the number 1: they count as one object' in caplog.text


def test_one_picture_has_one_label_image(tmp_path):
  for name in ('a_mask.png', 'masks/a.png'):
    save(tmp_path / name, LABELS.astype(np.uint16))
  with pytest.raises(UserError, match=r'a\.png has several label images, .*a_mask.* and .*masks/a'):
    picture_truth.find(tmp_path, ['a.png'])


def test_a_label_image_that_may_be_of_two_pictures_is_refused(tmp_path):
  save(tmp_path / 'masks' / 'c.png', LABELS.astype(np.uint16))
  assert list(picture_truth.find(tmp_path, ['a/c.png', 'a/c.jpg'])) == ['a/c.png', 'a/c.jpg']
  with pytest.raises(UserError, match=r'c\.png may belong to .*a/c\.png or to .*b/c\.png; put it'):
    picture_truth.find(tmp_path, ['a/c.png', 'b/c.png'])


def test_label_images_of_the_current_folder_are_found(tmp_path, monkeypatch):
  (tmp_path / 'images').mkdir()
  monkeypatch.chdir(tmp_path / 'images')
  for name in ('masks/a.png', 'b_mask.png', '../labels/c.png'):
    save(pathlib.Path(name), LABELS.astype(np.uint16))
  found = picture_truth.find(pathlib.Path(), ['a.png', 'b.png', 'c.png'])
  names = [str(source.label_image) for source in found.values()]
  assert names == ['masks/a.png', 'b_mask.png', '../labels/c.png']


def test_points_are_counted_and_must_lie_in_the_picture(tmp_path):
  table = tmp_path / 'points.csv'
  table.write_text('name,x,y\na.png,2.5,1\na.png,-0.5,2\n')
  truth = truth_of(tmp_path, table)
  assert truth.count == 2 and truth.labels is None
  assert truth.points.tolist() == [[1, 2.5], [2, 0]]
  with pytest.raises(UserError, match=r'x=2\.5, y=1 is outside of .*a\.png, which is 2x2 pixels'):
    truth_of(tmp_path, table, size=(2, 2))


def test_label_images_outweigh_the_count_of_a_table(tmp_path, caplog):
  save(tmp_path / 'a_mask.png', LABELS.astype(np.uint16))
  table = tmp_path / 'counts.csv'
  table.write_text('a.png,2\n')
  assert truth_of(tmp_path, table).count == 2 and not caplog.messages
  table.write_text('a.png,5\n')
  assert truth_of(tmp_path, table).count == 2
  assert 'has 2 objects and the CSV file 5; the label image is used' in caplog.text


def test_pictures_about_which_nothing_is_known_have_no_source(tmp_path):
  table = tmp_path / 'counts.csv'
  table.write_text('b/c.jpg,3\n')
  found = picture_truth.find(tmp_path, NAMES, table)
  assert found == {
    'b/c.jpg': picture_truth.Source(pathlib.Path(tmp_path, 'b/c.jpg'), 3, None, None)
  }
  assert picture_truth.read(found['b/c.jpg'], (5, 5)) == picture_truth.PictureTruth(3, None, None)


def test_a_label_image_as_large_as_its_picture_is_no_bomb(tmp_path, monkeypatch):
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 5)
  save(tmp_path / 'a_mask.png', LABELS.astype(np.uint16))
  assert truth_of(tmp_path).count == 2


def test_real_masks(real_dir):
  folder = real_dir
  nuclei = label_images.read(folder / 'nuclei_mask.png', folder / 'nuclei.tif', (512, 332))
  coins = label_images.read(folder / 'coins_mask.png', folder / 'coins.png', (303, 384))
  assert (nuclei[1], coins[1]) == (89, 24)
  names = ['coins.png', 'coins_mask.png', 'nuclei.tif', 'nuclei_mask.png']
  assert list(picture_truth.find(folder, names)) == ['coins.png', 'nuclei.tif']
