"""--mode=parse of large image files: counts, label images and drawings."""

import csv
import json

import numpy as np
import pytest
import test_large_pictures as known
import tifffile
from PIL import Image

from air_jax.inference import dashes, large_files, parse_files


@pytest.fixture
def model():
  """Finds the bright parts of pictures of 16 bits."""
  return known.Threshold(levels=(100.0, 1100.0))


@pytest.fixture
def photos(tmp_path):
  """Two pages of discs in a TIFF file, a picture of none, and a file that is no picture."""
  folder = tmp_path / 'photos'
  (folder / 'more').mkdir(parents=True)
  pages = []
  for number in (5, 2):
    picture, _ = known.discs((120, 160), known.scattered((120, 160), number))
    pages.append(100 + 4 * picture[..., 0].astype(np.uint16))
  tifffile.imwrite(folder / 'stack.tif', pages)
  Image.new('L', (60, 70)).save(folder / 'more' / 'empty.png')
  (folder / 'spoilt.png').write_bytes(b'no picture')
  return folder


def test_counts_labels_and_drawings_of_every_page(model, photos, tmp_path, caplog):
  out = tmp_path / 'out'
  said = parse_files.run(model, str(photos), out, True)
  assert '3 images parsed' in said and '1 cannot be read' in said and 'fitted' not in said
  assert 'spoilt.png' in caplog.text
  with (out / 'counts.csv').open(newline='') as table:
    counts = list(csv.reader(table))
  names = ['more/empty.png', 'stack.tif#1', 'stack.tif#2']
  doubt = 'not compared with held-out pictures'
  assert counts == [
    ['name', 'count', 'doubt'],
    *([*row, doubt] for row in zip(names, '052', strict=True)),
  ]
  lines = [json.loads(line) for line in (out / 'objects.jsonl').read_text().splitlines()]
  for name, line in zip(names, lines, strict=True):
    assert line['image'] == name and line['step'] == 7 and 'count_probs' not in line
    with Image.open(out / 'labels' / f'{name}.png') as file:
      labels = np.asarray(file)
    assert labels.dtype == np.uint16 and labels.shape == (line['height'], line['width'])
    assert labels.max() == line['count'] == len(line['objects'])
    for number, found in enumerate(line['objects'], 1):
      rows, columns = np.nonzero(labels == number)
      top, left, height, width = found['box']
      assert (rows.min(), columns.min()) == (top, left)
      assert (rows.max() + 1 - top, columns.max() + 1 - left) == (height, width)
    with Image.open(out / 'annotated' / f'{name}.png') as drawn:
      assert max(drawn.width, drawn.height - 24) == 640
  again = parse_files.run(model, str(photos), out, True)
  assert '0 images parsed' in again and '3 were there already' in again


def test_label_images_hold_any_number_of_objects(tmp_path):
  labels = np.arange(70_000, dtype=np.int32).reshape(200, 350)
  large_files.write_labels(labels, tmp_path / 'many')
  large_files.write_labels(labels % 65_536, tmp_path / 'few')
  np.testing.assert_array_equal(tifffile.imread(tmp_path / 'many.tif'), labels)
  np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'few.png')), labels % 65_536)


def test_outlines_are_drawn_inside_objects():
  picture = Image.new('L', (640, 320), 50)
  labels = np.zeros((320, 640), np.int32)
  labels[100:200, 300:400], labels[100:200, 400:450] = 1, 2
  drawn = np.asarray(large_files._annotate(picture, labels, 0 * labels, '2 objects'))[24:]
  for colour, columns in (((213, 94, 0), (301, 398)), ((86, 180, 233), (401, 448))):
    where = np.argwhere((drawn == colour).all(-1))
    assert where.min(0).tolist() == [101, columns[0]]
    assert where.max(0).tolist() == [198, columns[1]]
  assert (drawn[150, 350] == 50).all() and (drawn[:99] == 50).all()


def test_what_is_unexplained_is_dashed_and_said(tmp_path):
  picture, labels = known.discs((120, 160), [(30, 40), (90, 60), (60, 130)])
  grey = np.where(labels == 2, 110, picture[..., 0]).astype(np.uint8)
  (tmp_path / 'in').mkdir()
  Image.fromarray(grey).save(tmp_path / 'in' / 'a.png')
  Image.fromarray(np.where(labels > 1, 0, grey).astype(np.uint8)).save(tmp_path / 'in' / 'b.png')
  model = known.Threshold(reference=known.reference())
  said = parse_files.run(model, str(tmp_path / 'in'), tmp_path / 'out', True)
  assert said.endswith('; 1 of 2 have regions unexplained')
  with (tmp_path / 'out' / 'counts.csv').open(newline='') as table:
    assert [*csv.reader(table)][1:] == [['a.png', '2', '1 region unexplained'], ['b.png', '1', '']]
  lines = (tmp_path / 'out' / 'objects.jsonl').read_text().splitlines()
  line = json.loads(lines[0])
  assert line['doubt'] == '1 region unexplained' and line['elbo_rank'] == 0.5
  np.testing.assert_allclose(line['unexplained'], [[83, 53, 15, 15]], atol=0.1)
  with Image.open(tmp_path / 'out' / 'annotated' / 'a.png.png') as drawn:
    shown = np.asarray(drawn.convert('RGB'))[24:]
  edge = dashes.outlines(np.repeat(np.repeat(labels == 2, 4, 0), 4, 1).astype(int))
  colours = {tuple(colour) for colour in shown[edge]}
  assert colours == {(255, 255, 255), (0, 0, 0)}
  assert 0.4 < (shown[edge] == 255).all(-1).mean() < 0.6


def test_pictures_without_regions_are_drawn_as_they_are():
  picture = Image.new('RGB', (30, 20), (1, 2, 3))
  assert dashes.draw(picture, np.zeros((5, 5), int)) is picture
