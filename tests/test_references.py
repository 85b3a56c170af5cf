"""What held-out images are like, kept with a run and used when parsing."""

import csv
import json
import shutil

import numpy as np
import own_images
import pytest

import air_jax
from air_jax.data import loading
from air_jax.evaluation import residuals
from air_jax.inference import parse_files, references, restore
from air_jax.inference.parsed_scenes import doubt


@pytest.fixture(scope='module')
def run(finished_run, tmp_path_factory):
  """A copy of the tiny run, of which the reference was measured."""
  folder = shutil.copytree(finished_run, tmp_path_factory.mktemp('known') / 'run')
  restore.load_with_reference(folder)
  return folder


@pytest.fixture(scope='module')
def images(run):
  return np.asarray(loading.load(air_jax.load(run).config.data, 'test').images)


def test_held_out_images_are_measured_once_and_kept(copy, monkeypatch):
  assert air_jax.load(copy).reference is None
  first = restore.load_with_reference(copy).reference
  kept = json.loads((copy / 'reference.json').read_text())
  assert kept['step'] == first.step == 20
  assert kept['images'] == first.images == air_jax.load(copy).config.data.test_scenes
  monkeypatch.setattr(loading, 'load', lambda *args: pytest.fail('measured again'))
  again = restore.load_with_reference(copy).reference
  assert again.level == first.level and again.area == first.area
  np.testing.assert_allclose(again.groups[0].mean, first.groups[0].mean, rtol=1e-6)


@pytest.mark.parametrize('text', ['', '[]', '{"step": 19}', '{"step": 20, "groups": []}'])
def test_a_damaged_one_or_one_of_another_step_is_measured_anew(run, tmp_path, text):
  folder = shutil.copytree(run, tmp_path / 'run')
  (folder / 'reference.json').write_text(text)
  assert air_jax.load(folder).reference is None
  assert restore.load_with_reference(folder).reference.step == 20
  assert json.loads((folder / 'reference.json').read_text())['step'] == 20


def test_a_run_without_held_out_images_parses_without_them(copy, caplog):
  path = copy / 'config.json'
  config = json.loads(path.read_text())
  config['data']['source'] = 'arrays'
  path.write_text(json.dumps(config))
  model = restore.load_with_reference(copy)
  assert model.reference is None and 'which cannot be had' in caplog.text
  scenes = model.parse(np.zeros((2, 50, 50), np.uint8))
  assert not scenes.unlike.any() and not scenes.regions.any() and np.isnan(scenes.elbo_ranks).all()


def test_of_crops_those_of_the_training_pictures_are_measured_too(tmp_path):
  for i, name in enumerate((own_images.TRAIN_NAME, own_images.TEST_NAME)):
    own_images.save(np.full((30, 40), 60 + 100 * i, np.uint8), tmp_path / name)
  data = own_images.config_of(tmp_path, canvas_size=10, object_pixels=5.0)
  greys = references.images(data)[:, 0, 0, 0]
  np.testing.assert_array_equal(greys, np.repeat([160, 60], len(greys) // 2))
  whole = references.images(own_images.config_of(tmp_path))
  assert whole.shape[0] == 1 and (whole == 160).all()


def test_a_changed_model_is_measured_for_itself(run):
  changed = {'objective.prior_end': 1e-8}
  assert air_jax.load(run, changes=changed).reference is None
  before = (run / 'reference.json').read_bytes()
  model = restore.load_with_reference(run, changes=changed)
  assert model.reference.images <= references.FEW
  assert (run / 'reference.json').read_bytes() == before


def test_a_saved_model_keeps_it(run, images, tmp_path):
  model = air_jax.load(run)
  model.save(tmp_path / 'saved')
  saved = air_jax.load(tmp_path / 'saved')
  again, before = saved.parse(images[:9]), model.parse(images[:9])
  for name in ('elbo', 'ink_explained', 'elbo_ranks', 'unlike', 'regions'):
    np.testing.assert_array_equal(getattr(again, name), getattr(before, name))


def test_parsing_compares_each_image(run, images):
  model = air_jax.load(run)
  scenes = model.parse(images[:9])
  other = model.parse(255 - images[:9])
  assert other.unlike.all() and (other.elbo_ranks == 0).all()
  assert not scenes.unlike.all() and (scenes.elbo_ranks > 0).any()
  for image, scene, regions in zip(images, scenes.canvases, scenes.regions, strict=False):
    off = np.abs(image / 255 - scene).max(-1) > model.reference.level
    np.testing.assert_array_equal(regions, residuals.regions(off, model.reference.area))
  assert model.parse(images[:0]).unlike.shape == (0,)


def test_images_that_are_unlike_are_said_to_be(run, images, tmp_path):
  for name, image in (('a', images[0]), ('b', 255 - images[0])):
    own_images.save(image[..., 0], tmp_path / 'in' / f'{name}.png')
  model = air_jax.load(run)
  said = parse_files.run(model, str(tmp_path / 'in'), tmp_path / 'out', True)
  assert '1 of 2 are unlike the training pictures' in said
  with (tmp_path / 'out' / 'counts.csv').open(newline='') as table:
    _, (_, _, first), (_, _, second) = csv.reader(table)
  assert first == '' and second.startswith('unlike the training pictures')
  line = json.loads((tmp_path / 'out' / 'objects.jsonl').read_text().splitlines()[0])
  scene = model.parse(images[:1])
  assert line['elbo'] == pytest.approx(scene.elbo[0], abs=1e-3)
  assert line['elbo_rank'] == pytest.approx(scene.elbo_ranks[0], abs=1e-4)
  assert line['ink_explained'] == pytest.approx(scene.ink_explained[0], abs=1e-4)


def test_words_of_a_doubt():
  assert doubt(False, 0) == ''
  assert doubt(True, 0) == 'unlike the training pictures'
  assert doubt(False, 1) == '1 region unexplained'
  assert doubt(True, 3) == 'unlike the training pictures; 3 regions unexplained'


def test_models_of_images_in_memory_know_their_held_out_ones(images, tmp_path):
  small = {'max_objects': 1, 'steps': 2, 'progress': False}
  small |= {'train__batch_size': 8, 'model__patch_rounds': 0, 'objective__name': 'exact'}
  model = air_jax.fit(images[:60], **small)
  assert model.reference.images == 12
  folder = tmp_path / 'run'
  air_jax.fit(images[:60], workdir=folder, **small)
  assert air_jax.load(folder).reference.images == 12
