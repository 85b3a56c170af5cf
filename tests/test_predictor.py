"""A trained model in use: parsing in any batch; generating, editing, exporting."""

import dataclasses
import operator
import subprocess
import sys

import jax
import numpy as np
import pytest

import air_jax
from air_jax.cli import demo_model
from air_jax.config import schema
from air_jax.data import loading
from air_jax.errors import UserError
from air_jax.inference import latent_edits, predictor, without_ink
from air_jax.model import air
from air_jax.training import population, restore


@pytest.fixture(scope='module')
def model(finished_run):
  """The model of the tiny run, with counts that vary and objects that cost nothing."""
  trained = air_jax.load(finished_run)
  images = loading.load(trained.config.data, 'test').images[:20] / 255
  head = trained.params['presence_head']
  keys = jax.random.split(jax.random.key(1), len(jax.tree.leaves(head)))
  keys = jax.tree.unflatten(jax.tree.structure(head), list(keys))
  wild = jax.tree.map(lambda x, key: x + 2 * jax.random.normal(key, x.shape), head, keys)
  params = trained.params | {'presence_head': wild}
  _, rolled = jax.jit(jax.vmap(air.parse, (None, None, 0)))(trained.model, params, images)
  output = wild['output']
  output['bias'] -= np.median(rolled.presence_logits)
  spec = dataclasses.replace(trained.model.spec, success=1e30)  # what they explain is little
  free = dataclasses.replace(trained.model, spec=spec)
  return predictor.Model(trained.config, free, params, trained.step)


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


def test_parse_is_that_of_the_model_image_by_image(model, images, scene):
  explain, parse = jax.jit(without_ink.explain), jax.jit(air.parse)
  for i in range(3):
    image = images[i] / 255
    latents, rolled, _, _ = explain(model.model, model.params, image)
    np.testing.assert_allclose(scene.latents.z_where[i], latents.z_where, atol=1e-4)
    assert scene.counts[i] == scene.latents.count[i] == latents.count
    np.testing.assert_allclose(scene.canvases[i], rolled.canvases[latents.count], atol=1e-4)
    for name, normal in (('z_where', rolled.where), ('z_what', rolled.what)):
      for part, expected in normal._asdict().items():
        np.testing.assert_allclose(getattr(scene, f'{name}_{part}')[i], expected, atol=1e-4)
    _, every = parse(model.model, model.params, image)  # also objects without ink
    terms = air.elbo_terms(model.model, model.params, image, every, model.model.spec.success)
    log_joint = terms.log_p - terms.nll - terms.kl_z - terms.log_q
    np.testing.assert_allclose(scene.elbo[i], np.exp(terms.log_q) @ log_joint, rtol=1e-4)
  assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(scene))


def test_explain_gives_every_intermediate_result(model, images, scene):
  latents, rolled = model.explain(images)
  assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves((latents, rolled)))
  assert_close(latents, scene.latents)
  np.testing.assert_allclose(
    rolled.canvases[np.arange(20), scene.counts], scene.canvases, atol=1e-4
  )


def test_windows_are_in_pixels_of_the_canvas(scene):
  present = np.arange(scene.scores.shape[1]) < scene.counts[:, None]
  scale = 1 / (1 + np.exp(-scene.z_where_mean[..., 0]))
  x, y = np.moveaxis(np.tanh(scene.z_where_mean[..., 1:]), -1, 0)
  side = 50 * scale
  expected = np.stack([25 * (y + 1) - side / 2, 25 * (x + 1) - side / 2, side, side], -1)
  np.testing.assert_allclose(scene.windows, np.where(present[..., None], expected, 0), atol=1e-3)


def test_segments_are_those_of_the_objects_that_count(model, scene):
  params = jax.tree.map(np.array, model.params)
  params['glimpse_decoder']['output']['bias'] += 4.0  # ink where there was none
  bright = predictor.Model(model.config, model.model, params, model.step)
  rendered = bright.render(scene.latents)
  counts, labels = rendered.counts, [np.unique(segments) for segments in rendered.segments]
  assert all(set(found) <= set(range(n + 1)) for found, n in zip(labels, counts, strict=True))
  assert max(map(max, labels)) > 1 and rendered.segments.shape == scene.canvases.shape[:3]
  first = np.argwhere(rendered.segments[counts == 1][0] == 1)
  top, left, height, width = rendered.boxes[counts == 1][0, 0]
  # Boxes bound fainter ink than segments do.
  assert (first.min(0) >= (top, left)).all()
  assert (first.max(0) < (top + height, left + width)).all()
  assert len(first) > 0.5 * height * width


def test_counts_are_the_mode_of_probabilities_that_scores_sum_up(scene):
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


def test_images_of_another_size_are_fitted_and_boxes_are_in_their_pixels(
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
def test_arrays_that_are_no_images_are_refused(model, wrong, says):
  with pytest.raises(UserError, match=says):
    model.parse(wrong)


def test_generated_scenes_are_rendered_samples_of_the_prior(model):
  generated = model.generate(300, jax.random.key(5))
  assert set(generated.counts) == {0, 1, 2, 3}
  np.testing.assert_array_equal(generated.count_probs.argmax(-1), generated.counts)
  assert np.isnan(generated.elbo).all() and not generated.z_what_std.any()
  np.testing.assert_array_equal(generated.z_what_mean, generated.latents.z_what)
  for i in (0, 299):
    one = jax.tree.map(operator.itemgetter(i), generated.latents)
    canvas = air.decode(model.model, model.params, one)
    np.testing.assert_allclose(generated.canvases[i], canvas, atol=1e-5)


def test_edited_scenes_are_rendered_again(model, scene):
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
      left_out = {'latents', 'poses', 'count', 'elbo_ranks', 'unlike', 'regions'}
      assert set(found) == expected.keys() - left_out
      for name in found:
        np.testing.assert_allclose(found[name], expected[name][:n], rtol=1e-3, atol=1e-4)


def test_a_model_of_another_canvas_than_that_of_its_run_cannot_be_saved(tiny_config, tmp_path):
  tiny_config.model.cell = 'voting'  # the LSTM takes images of one size
  config = schema.parse(tiny_config)
  built = air.build(config.model)
  params = jax.jit(air.init)(built, jax.random.key(0))
  predictor.Model(config, built, params, step=0).save(tmp_path / 'kept')
  larger = air_jax.load(tmp_path / 'kept', changes={'data.canvas_size': 60})
  assert larger.step == 0 and larger.config.data.canvas_size == 60
  with pytest.raises(UserError, match='loaded with changes cannot be saved'):
    larger.save(tmp_path / 'larger')


def test_load_gives_what_evaluation_uses(finished_run):
  _, states, _ = restore.restore(finished_run)
  loaded = air_jax.load(finished_run)
  average = population.member(states, 0).average
  assert loaded.step == 20
  jax.tree.map(np.testing.assert_array_equal, loaded.params, average)
  number = sum(np.size(leaf) for leaf in jax.tree.leaves(average))
  for part in ('50x50x1', 'at most 3', 'size 4', 'std 0.2', f'{number:,} param', 'step 20'):
    assert part in repr(loaded)


def test_a_folder_without_a_checkpoint_says_so(tmp_path):
  with pytest.raises(UserError, match='holds no run'):
    air_jax.load(tmp_path)


def test_the_model_of_the_demo_is_trained_once(run_config, tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  for trained in (1, 0):
    model = demo_model.load_or_train(run_config)
    assert model.step == run_config.train.steps
    assert capsys.readouterr().out.count('training a small model once') == trained
  run_config.seed = 1
  demo_model.load_or_train(run_config)
  assert len(list((tmp_path / 'air_jax' / 'models').iterdir())) == 2
