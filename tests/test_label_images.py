"""Label images among a person's pictures are set aside: they are neither trained on nor parsed."""

import collections
import os

import numpy as np
import own_images
import pytest

from air_jax.data import image_files, image_folder, label_images
from air_jax.errors import UserError
from air_jax.inference import parse_files

PICTURES = ['a.png', 'b/c.jpg', 'b/d.png', 'e/f.PNG', 'lone_mask.png', 'masks/lone.png']
LABELS = ['a_mask.png', 'b/c_labels.PNG', 'b/masks/d.tif', 'b/masks/d.png', 'labels/f.png']


@pytest.fixture
def folder(tmp_path):
  for name in PICTURES + LABELS:
    form = {'format': 'TIFF'} if name.endswith('tif') else {}
    own_images.save(np.full((4, 4), 9, np.uint8), tmp_path / name, **form)
  (tmp_path / 'x.png').mkdir()
  own_images.save(np.zeros((4, 4), np.uint8), tmp_path / 'x_mask.png')  # of a folder, no picture
  return tmp_path


def names_of(files):
  return [file.name for file in files]


def test_label_images_are_found_among_files_and_named_once(folder, caplog):
  with caplog.at_level('INFO', logger='absl'):
    for _ in range(2):
      files, others = image_files.find(folder)
      assert names_of(files) == sorted([*PICTURES, 'x_mask.png']) and others == []
  shown = 'a_mask.png, b/c_labels.PNG, b/masks/d.png, b/masks/d.tif, labels/f.png'
  assert caplog.messages == [f'set aside 5 label images: {shown}, in {folder}']


@pytest.mark.parametrize(
  'pattern, found',
  [
    ('*.png', ['a.png', 'lone_mask.png', 'x_mask.png']),
    ('b/*', ['c.jpg', 'd.png']),
    ('b/*.PNG', []),  # of a JPEG file
    ('**/d.*', ['d.png']),
    ('*s/*.png', ['masks/lone.png']),
    ('labels/*', ['f.png']),  # asked for by their folder
    ('b/masks/*.png', ['d.png']),
    ('a_mask.png', []),
  ],
)
def test_patterns_find_no_label_images(folder, pattern, found):
  if not found:
    with pytest.raises(UserError, match='finds no pictures'):
      parse_files.find(str(folder / pattern))
  else:
    assert names_of(parse_files.find(str(folder / pattern))[1]) == found


def test_patterns_relative_to_the_current_folder(folder, monkeypatch):
  monkeypatch.chdir(folder)
  assert names_of(parse_files.find('*.png')[1]) == ['a.png', 'lone_mask.png', 'x_mask.png']
  assert names_of(parse_files.find('.')[1]) == sorted([*PICTURES, 'x_mask.png'])


def test_label_images_are_not_trained_on_nor_measured(tmp_path):
  grey = np.array([[100, 150], [100, 150]], np.uint8)
  own_images.save(grey, tmp_path / own_images.TRAIN_NAME)
  own_images.save(grey, tmp_path / own_images.TEST_NAME)
  for name in (own_images.TRAIN_NAME, own_images.TEST_NAME):
    for kind in ('masks', 'labels'):  # two for a picture: only evaluation refuses that
      own_images.save(np.arange(4, dtype=np.uint16).reshape(2, 2), tmp_path / kind / name)
  config = own_images.config_of(tmp_path, stretch=True)
  assert image_folder.resolve(config).levels == (100, 150)
  for split in ('train', 'test'):
    assert image_folder.load(config, split).images[..., 0].tolist() == [[[0, 255]] * 2]


def test_of_many_pictures_each_folder_is_listed_once(tmp_path, monkeypatch):
  names = [f'{i}/images/{i}.png' for i in range(40)] + [f'{i}/masks/{i}.png' for i in range(40)]
  names += [f'all/{i}{end}.png' for i in range(500) for end in ('', '_mask')]
  for name in names:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  listed = collections.Counter()
  scan = os.scandir

  def counted(path):
    listed[os.fspath(path)] += 1
    return scan(path)

  monkeypatch.setattr(os, 'scandir', counted)
  labels = label_images.among(tmp_path, names)
  assert labels == sorted(name for name in names if 'mask' in name)
  assert len(listed) == 40 * 3 + 1 and max(listed.values()) <= 2  # for pictures, and for folders
