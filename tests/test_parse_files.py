"""--mode=parse and --mode=export: files in, lines and figures out; damaged files; interruptions."""

import json

import numpy as np
import own_images
import program
import pytest
from PIL import Image

import air_jax
from air_jax.data import loading, pictures
from air_jax.errors import UserError
from air_jax.inference import fitted_files, parse_files


@pytest.fixture(scope='module')
def model(finished_run):
  return air_jax.load(finished_run)


@pytest.fixture(scope='module')
def scenes(model):
  return loading.load(model.config.data, 'test').images[:6]


@pytest.fixture
def photos(scenes, tmp_path):
  """Six pictures, one within a folder, one larger, and one that is none."""
  folder = tmp_path / 'photos'
  for i, image in enumerate(scenes):
    name = 'more/5.png' if i == 5 else f'{i}.png'
    image = image[..., 0]
    own_images.save(image.repeat(2, 0).repeat(2, 1) if i == 4 else image, folder / name)
  (folder / 'spoilt.png').write_bytes(b'no picture')
  return folder


def lines_of(out):
  return [json.loads(line) for line in (out / 'objects.jsonl').read_text().splitlines()]


def test_objects_are_those_of_the_model_in_pixels_of_the_file(
  model, photos, scenes, tmp_path, caplog
):
  out = tmp_path / 'out'
  said = parse_files.run(model, str(photos), out, True)
  assert '6 images parsed' in said and '1 cannot be read' in said and 'not all are 50x50' in said
  assert 'spoilt.png' in caplog.text
  lines, scene = lines_of(out), model.parse(scenes)
  names = ['0.png', '1.png', '2.png', '3.png', '4.png', 'more/5.png']
  assert [line['image'] for line in lines] == names
  for i in (0, 1, 2, 3, 5):
    assert lines[i]['count'] == len(lines[i]['objects']) == scene.counts[i]
    assert (lines[i]['width'], lines[i]['height'], lines[i]['step']) == (50, 50, 20)
    np.testing.assert_allclose(lines[i]['count_probs'], scene.count_probs[i], atol=1e-4)
    for t, found in enumerate(lines[i]['objects']):
      np.testing.assert_allclose(found['box'], scene.boxes[i, t], atol=0.01)
      np.testing.assert_allclose(found['score'], scene.scores[i, t], atol=1e-4)
      np.testing.assert_allclose(found['z_what'], scene.latents.z_what[i, t], atol=1e-4)
  assert lines[4]['width'] == 100
  doubt = 'not compared with held-out pictures'
  assert said.endswith(f'6 of 6 are {doubt}')
  assert {line['doubt'] for line in lines} == {doubt}
  counts = [f'{line["image"]},{line["count"]},{doubt}' for line in lines]
  assert (out / 'counts.csv').read_text().splitlines() == ['name,count,doubt', *counts]
  for line in lines:
    with Image.open(out / 'annotated' / f'{line["image"]}.png') as drawn:
      assert drawn.size == (648, 344)


def test_annotations_show_image_boxes_and_reconstruction():
  shown = Image.new('RGB', (320, 160), (9, 9, 9))
  canvas = np.zeros((50, 50, 1))
  canvas[:25] = 1
  drawn = np.asarray(
    fitted_files._annotate(shown, np.array([[40.0, 100, 60, 80]]), canvas, '1 object')
  )
  red = (drawn == (213, 94, 0)).all(-1)  # of the first step
  rows, columns = np.nonzero(red[:, :320])
  assert abs(rows.min() - 64) <= 1 and abs(rows.max() - 124) <= 1
  assert abs(columns.min() - 100) <= 1 and abs(columns.max() - 180) <= 1
  assert (drawn[30:180, 330:640] == 255).all() and (drawn[190:, 330:640] == 0).all()
  assert (drawn[150:180, 5:95] == 9).all() and (drawn[190:, :320] == 255).all()


def test_patterns_choose_files(photos, tmp_path):
  folder, files = parse_files.find(f'{photos}/[12].png')
  assert folder == photos and [file.name for file in files] == ['1.png', '2.png']
  folder, files = parse_files.find(f'{photos}/**/5.png')
  assert folder == photos / 'more' and [file.name for file in files] == ['5.png']
  for nothing in (f'{photos}/*.gif', str(tmp_path / 'no')):
    with pytest.raises(UserError, match='finds no pictures'):
      parse_files.find(nothing)


@pytest.mark.parametrize('cut', [0, 40, -1])
def test_interrupted_parsing_continues_to_the_same_result(model, photos, tmp_path, cut):
  whole, broken = tmp_path / 'whole', tmp_path / 'broken'
  parse_files.run(model, str(photos), whole, False)
  assert not (whole / 'annotated').exists()
  text = (whole / 'objects.jsonl').read_text()
  broken.mkdir()
  (broken / 'objects.jsonl').write_text(text[: text.index('\n', len(text) // 2) + 1 + cut])
  said = parse_files.run(model, str(photos), broken, False)
  assert 'were there already' in said
  again, first = lines_of(broken), lines_of(whole)
  assert [line['image'] for line in again] == [line['image'] for line in first]
  assert [line['count'] for line in again] == [line['count'] for line in first]
  assert '0 images parsed' in parse_files.run(model, str(photos), whole, False)


@pytest.mark.parametrize(
  'line, says',
  [
    ('{"image": "0.png", "step": 19}', 'step 19 of a model'),
    ('{"image": "z.png", "step": 20}', r'other pictures \(z.png\)'),
    ('mine', 'was not written by parsing'),
  ],
)
def test_files_of_others_are_not_changed(model, photos, tmp_path, line, says):
  path = tmp_path / 'objects.jsonl'
  path.write_text(line + '\n')
  with pytest.raises(UserError, match=says):
    parse_files.run(model, str(photos), tmp_path, False)
  assert path.read_text() == line + '\n'


def test_no_readable_file_is_an_error(model, tmp_path):
  (tmp_path / 'a.png').write_bytes(b'')
  with pytest.raises(UserError, match='none of its 1 files can be read'):
    parse_files.run(model, str(tmp_path), tmp_path / 'out', False)


@pytest.mark.parametrize('how', ['crop', 'pad', 'squash'])
@pytest.mark.parametrize('sides', [(50, 50), (120, 80), (60, 200), (31, 30)])
def test_boxes_go_back_to_where_their_pixels_came_from(how, sides):
  width, height = sides
  picture = np.zeros((height, width), np.uint8)
  top, left = height // 2 - 6, width // 2 - 8
  picture[top : top + 12, left : left + 16] = 255
  fitted = np.asarray(pictures.fit(Image.fromarray(picture), 50, how)) > 127
  rows, columns = np.nonzero(fitted)
  box = [rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1]
  pixel = max(sides) / 50  # of the canvas, in the picture
  back = pictures.unfit(np.float32([box]), sides, 50, how)
  np.testing.assert_allclose(back, [[top, left, 12, 16]], atol=1.5 * max(pixel, 1))
  everything = pictures.unfit(np.float32([[-9, -9, 99, 99]]), sides, 50, how)[0]
  assert (everything[2:] <= (height, width)).all() and (everything >= 0).all()


# ml_collections loads configurations so.
@pytest.mark.filterwarnings(r'ignore:the load_module\(\) method:DeprecationWarning')
def test_modes_of_the_program(photos, copy, monkeypatch, capsys):
  def call(*flags):
    return program.call(monkeypatch, capsys, f'--workdir={copy}', *flags)

  code, out, error = call('--mode=parse', f'--images={photos}')
  assert code == 0 and '6 images parsed into' in out, error
  assert len(lines_of(copy / 'parsed')) == 6
  code, _, error = call('--mode=export')
  assert code == 0 and (copy / 'parser.jax').stat().st_size > 10_000, error
  for flags, says in (
    (['--mode=export'], 'parser.jax: File exists; --out=FILE names another'),
    (['--mode=parse'], '--mode=parse needs --images'),
  ):
    code, _, error = call(*flags)
    assert code == 2 and says in error
