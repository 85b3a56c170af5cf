"""A trained model in use: what `parse` gives, in any batch; imagining, editing, exporting."""

import operator
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import air_jax
from air_jax.data import loading
from air_jax.errors import UserError
from air_jax.inference import latent_edits, predictor
from air_jax.model import air
from air_jax.storage import run_dir


@pytest.fixture(scope='module')
def run(finished_run):
  """(Learner, TrainState) of the tiny run, with a presence head that counts now so, now so."""
  learning, state, _ = run_dir.restore(finished_run)
  images = loading.load(learning.config.data, 'test').images[:20] / 255
  head = state.average['presence_head']
  keys = jax.random.split(jax.random.key(1), len(jax.tree.leaves(head)))
  keys = jax.tree.unflatten(jax.tree.structure(head), list(keys))
  wild = jax.tree.map(lambda x, key: x + 2 * jax.random.normal(key, x.shape), head, keys)
  params = state.average | {'presence_head': wild}
  _, rolled = jax.vmap(air.parse, (None, None, 0))(learning.model, params, images)
  output = wild['_Dense_1']
  output['bias'] -= np.median(rolled.presence_logits)
  return learning, state._replace(average=params)


@pytest.fixture(scope='module')
def model(run):
  return predictor.Model(*run)


@pytest.fixture(scope='module')
def images(model):
  return loading.load(model.config.data, 'test').images[:20]


@pytest.fixture(scope='module')
def scene(model, images):
  return model.parse(images)


def assert_close(scene, other, atol=1e-4):
  for a, b in zip(jax.tree.leaves(scene), jax.tree.leaves(other), strict=True):
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=atol)


def test_parse_is_that_of_the_model_image_by_image(model, images, scene, run):
  learning, state = run
  for i in range(3):
    latents, rolled = air.parse(learning.model, state.average, images[i] / 255)
    np.testing.assert_allclose(scene.latents.z_where[i], latents.z_where, atol=1e-4)
    assert scene.counts[i] == scene.latents.count[i] == latents.count
    np.testing.assert_allclose(scene.canvases[i], rolled.canvases[latents.count], atol=1e-4)
  assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(scene))


def test_counts_are_the_mode_of_probabilities_which_scores_sum_up(scene):
  np.testing.assert_allclose(scene.count_probs.sum(-1), 1, rtol=1e-5)
  np.testing.assert_array_equal(scene.counts, scene.count_probs.argmax(-1))
  present = np.arange(scene.scores.shape[1]) < scene.counts[:, None]
  assert present.any() and not present.all()
  at_least = 1 - np.cumsum(scene.count_probs, -1)[:, :-1]
  np.testing.assert_allclose(scene.scores, np.where(present, at_least, 0), atol=1e-5)
  assert not scene.boxes[~present].any() and not scene.glimpses[~present].any()


def test_batches_of_any_size_give_the_same(model, images, scene):
  assert_close(model.parse(images, batch_size=7), scene)
  for part, first in zip(model.parse_each([images[:3], images[3:4]]), (0, 3), strict=True):
    own = slice(first, first + len(part.counts))
    assert_close(part, jax.tree.map(operator.itemgetter(own), scene))
  nothing = model.parse(images[:0])
  assert jax.tree.map(lambda x: x.shape[1:], nothing) == jax.tree.map(lambda x: x.shape[1:], scene)
  assert len(nothing.counts) == 0


def test_floats_and_images_without_a_channel_axis_are_the_same(model, images, scene):
  assert_close(model.parse(np.float32(images[..., 0]) / 255), scene)


def test_pictures_of_another_size_are_fitted_once_said_and_boxes_are_theirs(
  model, images, scene, caplog
):
  larger = images.repeat(4, 1).repeat(4, 2).repeat(3, 3)
  fitted = [model.parse(larger) for _ in range(2)][0]
  assert caplog.text.count('are fitted to') == 1
  same = fitted.counts == scene.counts
  assert same.mean() > 0.7
  np.testing.assert_allclose(fitted.boxes[same], 4 * scene.boxes[same], atol=13)


@pytest.mark.parametrize(
  'wrong, says',
  [
    (np.zeros((4, 4), np.uint8), r'shape \(4, 4\)'),
    (np.zeros((1, 4, 4, 2), np.uint8), 'C of 1 or 3'),
    (np.full((1, 4, 4), 255.0), r'within \[0, 1\]'),
    (np.full((1, 4, 4), np.nan), r'within \[0, 1\]'),
    (np.zeros((1, 4, 4), np.int64), 'images of int64'),
  ],
)
def test_what_are_no_images_is_refused(model, wrong, says):
  with pytest.raises(UserError, match=says):
    model.parse(wrong)


def test_generated_scenes_are_those_of_the_prior_rendered(model, run):
  imagined = model.generate(300, jax.random.key(5))
  assert set(imagined.counts) == {0, 1, 2, 3}
  np.testing.assert_array_equal(imagined.count_probs.argmax(-1), imagined.counts)
  learning, state = run
  for i in (0, 299):
    one = jax.tree.map(operator.itemgetter(i), imagined.latents)
    canvas = air.decode(learning.model, state.average, one)
    np.testing.assert_allclose(imagined.canvases[i], canvas, atol=1e-5)


def test_edits_change_what_they_say(model, scene):
  assert_close(model.render(scene.latents).canvases, scene.canvases)
  emptier = model.edit(scene, lambda latents: latent_edits.remove(latents, 0))
  np.testing.assert_array_equal(emptier.counts, np.maximum(scene.counts - 1, 0))


def test_export_runs_without_this_package_on_any_number_of_images(model, images, scene, tmp_path):
  (tmp_path / 'parser.jax').write_bytes(model.export())
  np.save(tmp_path / 'images.npy', images)
  (tmp_path / 'use.py').write_text(
    'import jax, sys, numpy as np\n'
    'exported = jax.export.deserialize(bytearray(open("parser.jax", "rb").read()))\n'
    'images = np.load("images.npy")\n'
    'for n in (1, 20):\n'
    '  np.savez(f"scene{n}.npz", **exported.call(images[:n]))\n'
    'assert not any(name.startswith(("air_jax", "flax")) for name in sys.modules)\n'
  )
  subprocess.run([sys.executable, '-I', 'use.py'], cwd=tmp_path, check=True)
  for n in (1, 20):
    expected = scene._asdict() | scene.latents._asdict()
    with np.load(tmp_path / f'scene{n}.npz') as found:
      assert set(found) == expected.keys() - {'latents', 'count'}
      for name in found:
        np.testing.assert_allclose(found[name], expected[name][:n], rtol=1e-3, atol=1e-4)


def test_loading_the_losses_alone_imports_no_flax():
  code = (
    'import sys; from air_jax import objectives; '
    'assert not {"flax", "orbax"} & set(sys.modules), "imported"'
  )
  root = pathlib.Path(air_jax.__file__).parents[1]
  subprocess.run([sys.executable, '-c', code], cwd=root, check=True)


def test_load_gives_what_evaluation_uses(finished_run, images):
  learning, state, _ = run_dir.restore(finished_run)
  loaded, own = air_jax.load(finished_run), predictor.Model(learning, state)
  assert loaded.step == own.step == 20
  assert_close(loaded.parse(images), own.parse(images), atol=0)


def test_a_folder_without_a_checkpoint_says_so(tmp_path):
  with pytest.raises(UserError, match='holds no run'):
    air_jax.load(tmp_path)


def test_a_model_is_trained_once_where_there_is_no_run(run_config, tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  for told in (1, 0):
    model = predictor.ready_made(run_config)
    assert model.step == run_config.train.steps
    assert capsys.readouterr().out.count('a small model is trained once') == told
  run_config.seed = 1
  predictor.ready_made(run_config)
  assert len(list((tmp_path / 'air_jax' / 'models').iterdir())) == 2
