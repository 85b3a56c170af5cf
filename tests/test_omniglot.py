"""Characters by alphabet: small archives made here, spoilt ones, and the real files."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from air_jax.data import omniglot
from air_jax.errors import UserError


def png(strokes):
  """A drawing as the archives hold it: black strokes on white, one bit a pixel."""
  file = io.BytesIO()
  Image.fromarray(~np.asarray(strokes, bool)).save(file, 'PNG')
  return file.getvalue()


def bar(height, width=100):
  """A filled bar somewhere on 105x105, told by its sides."""
  strokes = np.zeros((105, 105), bool)
  strokes[2 : 2 + height, 4 : 4 + width] = True
  return strokes


def write(path, drawings, root='images_background', compression=zipfile.ZIP_DEFLATED):
  """Writes an archive of {(alphabet, character, file): bytes} with its folders."""
  with zipfile.ZipFile(path, 'w', compression) as archive:
    archive.writestr(f'{root}/', b'')
    for where, content in drawings.items():
      archive.writestr('/'.join((root, *where)), content)


@pytest.fixture
def small(tmp_path):
  """A sound archive of two alphabets, in a folder of its own."""
  write(
    tmp_path / 'images_background.zip',
    {(name, 'character01', '1.png'): png(bar(50)) for name in ('Greek', 'Latin')},
  )
  return tmp_path


def alphabet_archive():
  """Eleven alphabets, whose bars are 5, 10, .. 55 pixels high, of two or three characters."""
  drawings = {}
  for number in reversed(range(11)):
    for character in range(2 + number % 2):
      for drawing in range(2):
        where = f'Alphabet_{number:02}', f'character{character + 1:02}', f'{drawing}.png'
        drawings[where] = png(bar(5 * (number + 1)))
  return drawings


def test_splits_share_no_alphabet_and_labels_number_characters(tmp_path):
  write(tmp_path / 'images_background.zip', alphabet_archive())
  for split, numbers in (('test', [0, 5, 10]), ('train', [1, 2, 3, 4, 6, 7, 8, 9])):
    images, labels = omniglot.read(tmp_path, split)
    assert images.dtype == np.uint8 and labels.dtype == np.int32
    expected = np.repeat(numbers, [2 * (2 + number % 2) for number in numbers])
    # A bar 100 wide comes to 20: one of 5 k to k.
    np.testing.assert_array_equal((images > 0).any(2).sum(1), expected + 1)
    np.testing.assert_array_equal(labels, np.arange(len(labels)) // 2)


def test_archives_may_overlap(tmp_path):
  drawings = alphabet_archive()
  items = list(drawings.items())
  write(tmp_path / 'images_background_small1.zip', dict(items[:30]), 'images_background_small1')
  write(tmp_path / 'images_background_small2.zip', dict(items[20:]), 'images_background_small2')
  write(tmp_path / 'images_evaluation.zip', {('Other', 'character01', '1.png'): png(bar(9))})
  parts = [omniglot.read(tmp_path, split) for split in ('train', 'test')]
  assert sum(len(part.images) for part in parts) == len(drawings)
  write(tmp_path / 'images_background.zip', drawings)
  for part, split in zip(parts, ('train', 'test'), strict=True):
    for a, b in zip(part, omniglot.read(tmp_path, split), strict=True):
      np.testing.assert_array_equal(a, b)


def test_character_is_cropped_brought_to_20_pixels_and_centred(tmp_path):
  strokes = np.random.default_rng(0).random((60, 80)) < 0.1
  strokes[[0, -1]] = strokes[:, [0, -1]] = False
  strokes[0, 30] = strokes[-1, 9] = strokes[7, 0] = strokes[40, -1] = True  # its box is 60 x 80
  placed = np.zeros((105, 105), bool)
  placed[45:, 3:83] = strokes
  tall = np.zeros((105, 105), bool)
  tall[1:101, 70:71] = True
  write(
    tmp_path / 'images_background.zip',
    {('A', 'c', '1.png'): png(placed), ('A', 'c', '2.png'): png(tall), ('B', 'c', '1.png'): b''},
  )
  wide, line = omniglot.read(tmp_path, 'test').images.astype(float)
  means = strokes.reshape(15, 4, 20, 4).mean((1, 3))
  expected = np.zeros((28, 28))
  expected[6:21, 4:24] = 255 * means / means.max()  # the darkest is full ink
  np.testing.assert_allclose(wide, expected, atol=3)  # Pillow rounds before that
  expected = np.zeros((28, 28))
  expected[4:24, 13] = 255
  np.testing.assert_array_equal(line, expected)


@pytest.mark.parametrize('folder', ['nowhere', 'empty', 'other'])
def test_missing_files_are_named(tmp_path, folder):
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'other').mkdir()
  write(tmp_path / 'other' / 'images_evaluation.zip', alphabet_archive())
  with pytest.raises(UserError, match=rf"data\.omniglot_dir='.*{folder}' .*images_background\*"):
    omniglot.read(tmp_path / folder, 'train')


@pytest.mark.parametrize('names', [[], ['Latin']])
def test_fewer_than_two_alphabets_are_refused(tmp_path, names):
  write(
    tmp_path / 'images_background.zip',
    {(name, 'c', f'{k}.png'): png(bar(50)) for name in names for k in range(3)},
  )
  for split in ('train', 'test'):
    with pytest.raises(UserError, match=f'holds {len(names)} alphabet.* two are needed'):
      omniglot.read(tmp_path, split)


@pytest.mark.parametrize('content', [b'', b'<html>404</html>', 'cut'])
def test_what_is_no_archive_is_named(small, content):
  path = small / 'images_background.zip'
  path.write_bytes(path.read_bytes()[:-30] if content == 'cut' else content)
  with pytest.raises(UserError, match=r'/images_background\.zip cannot be read as a zip'):
    omniglot.read(small, 'train')


@pytest.mark.parametrize(
  'content', [b'', b'no picture', png(bar(50))[:-30], png(np.zeros((105, 105)))],
  ids=['empty', 'no picture', 'cut', 'blank'],
)  # fmt: skip
def test_spoilt_drawing_is_named(tmp_path, content):
  write(
    tmp_path / 'images_background.zip',
    {('A', 'c', '1.png'): png(bar(50)), ('B', 'c', '1.png'): content},
  )
  assert len(omniglot.read(tmp_path, 'test').images) == 1
  with pytest.raises(UserError, match=r'/images_background\.zip: .*/B/c/1\.png cannot be read'):
    omniglot.read(tmp_path, 'train')


def test_any_damaged_byte_is_harmless_or_named(small):
  path = small / 'images_background.zip'
  content = path.read_bytes()
  good = omniglot.read(small, 'train')
  refused = 0
  for place in range(len(content)):
    path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
    try:
      again = omniglot.read(small, 'train')
    except UserError as error:
      assert 'images_background.zip' in str(error) or 'alphabet' in str(error)
      refused += 1
    else:
      np.testing.assert_array_equal(again.images, good.images)
  assert refused > 100


def test_real_characters(omniglot_dir):
  held_out = {}
  for split, characters in (('train', 192), ('test', 50)):
    images, labels = omniglot.read(omniglot_dir, split)
    # Twenty people drew each.
    np.testing.assert_array_equal(np.bincount(labels), np.full(characters, 20))
    assert images.shape == (20 * characters, 28, 28) and (images.max((1, 2)) == 255).all()
    tall, wide = ((images > 0).any(axis)[:, [4, 23]].all(1) for axis in (2, 1))
    assert (tall | wide).all()
    assert not images[:, :4].any() and not images[:, 24:].any()
    assert not images[:, :, :4].any() and not images[:, :, 24:].any()
    held_out[split] = {image.tobytes() for image in images}
  assert len(held_out['train'] & held_out['test']) < 10  # strokes that look the same in both
