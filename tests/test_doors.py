"""What users hand in from outside: arrays, likelihoods, networks, estimators, callbacks."""

import json
import pathlib
import sys
import textwrap
import types

import jax
import numpy as np
import pytest
import scipy.stats

import air_jax
from air_jax.errors import UserError
from air_jax.inference import restore
from air_jax.model import air, likelihoods
from air_jax.storage import run_dir


@pytest.fixture
def module(tmp_path, monkeypatch):
  """Writes a module of a user, outside the repository, and makes it importable."""
  monkeypatch.syspath_prepend(tmp_path)

  def write(name, text):
    (tmp_path / f'{name}.py').write_text(textwrap.dedent(text))
    sys.modules.pop(name, None)
    return name

  return write


@pytest.fixture
def short(run_config):
  """Five steps, one evaluation."""
  run_config.train.update(steps=5, eval_every=5, checkpoint_every=5, log_every=5)
  return run_config


ENCODER = """
  import flax.linen as nn

  from air_jax.model import networks


  class Encoder(nn.Module):
    @nn.compact
    def __call__(self, image):
      x = nn.relu(nn.Conv(4, (5, 5), strides=(5, 5))(image[None]))[0]
      return nn.relu(nn.Dense(7)(x.ravel()))


  def build(spec):
    shape = spec.canvas_size, spec.canvas_size, spec.channels
    return networks.build(spec, image_encoder=networks.part(Encoder(), shape))


  def no_networks(spec):
    return 'networks'


  def other_role(spec):
    return networks.build(spec, decoder=None)
"""


def test_an_encoder_of_a_user_is_trained_and_found_again(short, module, tmp_path):
  module('my_encoder', ENCODER)
  air_jax.train(short, tmp_path / 'run', networks='my_encoder:build', figures=False)
  model = air_jax.load(tmp_path / 'run')
  assert model.params['image_encoder'].keys() == {'Conv_0', 'Dense_0'}
  start = air.init(model.model, jax.random.key(0))['image_encoder']['Conv_0']['kernel']
  assert (model.params['image_encoder']['Conv_0']['kernel'] != start).any()
  assert model.parse(np.zeros((2, 50, 50), np.uint8)).counts.shape == (2,)
  import my_encoder

  air_jax.train(short, tmp_path / 'same', networks=my_encoder.build, figures=False)
  assert run_dir.load_config(tmp_path / 'same').model.networks == 'my_encoder:build'


LIKELIHOOD = """
  import dataclasses

  import jax
  import jax.numpy as jnp

  from air_jax.model.likelihoods import PrefixNll


  @dataclasses.dataclass(frozen=True)
  class Laplace:
    def prefix_nll(self, image, canvases, layers, numbers):
      scale = numbers.likelihood_std
      distance = jnp.abs(image - canvases).sum((1, 2, 3))
      return PrefixNll(distance / scale + image.size * jnp.log(2 * scale))

    def sample(self, canvas, key, numbers):
      return canvas + numbers.likelihood_std * jax.random.laplace(key, canvas.shape)


  class Half:
    def sample(self, canvas, key, numbers):
      return canvas
"""


def test_a_likelihood_of_a_user_decides_the_bound(short, module, tmp_path):
  module('my_likelihood', LIKELIHOOD)
  import my_likelihood

  air_jax.train(short, tmp_path / 'run', likelihood=my_likelihood.Laplace, figures=False)
  model = air_jax.load(tmp_path / 'run')
  assert 'my_likelihood:Laplace' in repr(model)
  image = np.random.default_rng(0).uniform(size=(50, 50, 1)).astype(np.float32)
  _, rolled = jax.jit(air.parse)(model.model, model.params, image)
  terms = air.elbo_terms(model.model, model.params, image, rolled, 0.5)
  distance = np.abs(image - rolled.canvases).sum((1, 2, 3))
  expected = distance / 0.2 + image.size * np.log(0.4)
  np.testing.assert_allclose(terms.nll, expected, rtol=1e-4)


def test_the_gaussian_is_the_same_by_layers_and_by_canvases():
  rng = np.random.default_rng(0)
  image, background, *layers = rng.uniform(size=(5, 6, 6, 1)).astype(np.float32)
  canvases = np.cumsum([background, *layers], axis=0)
  numbers = types.SimpleNamespace(likelihood_std=0.3)
  by_layers = likelihoods.Gaussian().prefix_nll(image, canvases, np.array(layers), numbers)
  by_canvases = likelihoods.Gaussian().prefix_nll(image, canvases, None, numbers)
  expected = -scipy.stats.norm.logpdf(image, canvases, 0.3).sum((1, 2, 3))
  np.testing.assert_allclose(by_layers.nll, expected, rtol=1e-5)
  np.testing.assert_allclose(by_canvases.nll, expected, rtol=1e-5)
  assert by_canvases.products is None


def test_bernoulli_is_the_second_likelihood(short, tmp_path):
  short.model.likelihood = 'bernoulli'
  air_jax.train(short, tmp_path / 'run', figures=False)
  model = air_jax.load(tmp_path / 'run')
  image = (np.random.default_rng(0).uniform(size=(50, 50, 1)) > 0.5).astype(np.float32)
  _, rolled = jax.jit(air.parse)(model.model, model.params, image)
  terms = air.elbo_terms(model.model, model.params, image, rolled, 0.5)
  white = np.clip(np.float64(rolled.canvases), 1e-3, 1 - 1e-3)
  chosen = np.where(image, white, 1 - white)
  np.testing.assert_allclose(terms.nll, -np.log(chosen).sum((1, 2, 3)), rtol=1e-4)
  drawn = model.model.likelihood.sample(rolled.canvases[0] + 0.3, jax.random.key(0), None)
  assert set(np.unique(drawn)) == {0.0, 1.0} and 0.25 < drawn.mean() < 0.35


ESTIMATOR = """
  from air_jax import objectives


  def my_loss(terms, key, smoothing=0.0):
    return objectives.exact(terms, key, smoothing) + 1000.0


  def no_loss(terms):
    return 0.0
"""


def test_an_estimator_of_a_user_trains_and_its_variance_is_measured(
  short, module, tmp_path, capsys
):
  module('my_objective', ESTIMATOR)
  short.objective.name = 'my_objective:my_loss'
  air_jax.train(short, tmp_path / 'run', figures=False)
  (line,) = [
    each
    for each in map(json.loads, (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines())
    if each['split'] == 'train'
  ]
  assert line['loss'] > line['nll'] + 900


@pytest.mark.parametrize(
  ('key', 'value', 'says'),
  (
    ('objective.name', 'my_objective:no_loss', r'no_loss.* it is called as loss\(terms, key'),
    ('objective.name', 'missing_module:loss', "cannot be imported: No module named 'missing"),
    ('objective.name', 'my_objective:missing', 'cannot be imported: .*no attribute'),
    ('model.likelihood', 'my_likelihood:Half', 'has no method prefix_nll'),
    ('model.likelihood', 'my_likelihood:none', 'cannot be imported'),
    ('model.networks', 'my_encoder:no_networks', 'must return .*Networks, and returned str'),
    ('model.networks', 'my_encoder:other_role', "no part 'decoder'"),
  ),
)
def test_what_cannot_be_used_is_refused_in_a_sentence(short, module, tmp_path, key, value, says):
  module('my_objective', ESTIMATOR)
  module('my_likelihood', LIKELIHOOD)
  module('my_encoder', ENCODER)
  short.update_from_flattened_dict({key: value})
  with pytest.raises(UserError, match=says):
    air_jax.train(short, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_what_a_saved_run_could_not_find_again_is_refused(short, tmp_path):
  with pytest.raises(UserError, match='networks=.* must be a function or class of a module'):
    air_jax.train(short, tmp_path, networks=lambda spec: None)


def test_callbacks_receive_every_record_and_figure(short, tmp_path):
  class Tracker(air_jax.Callback):
    def __init__(self):
      self.records, self.figures, self.ends = [], [], []

    def on_metrics(self, record):
      self.records.append(record)

    def on_figure(self, figure):
      assert figure.path.exists()
      self.figures.append(figure.name)

    def on_end(self, summary):
      self.ends.append(summary)

  tracker = Tracker()
  summary = air_jax.train(short, tmp_path, callbacks=[tracker])
  lines = list(map(json.loads, (tmp_path / 'metrics.jsonl').read_text().splitlines()))
  for record, line in zip(tracker.records, lines, strict=True):
    assert record.member is None
    del line['wall_s']
    assert {'step': record.step, 'split': record.split} | record.scalars == line
  wanted = {path.stem for path in (tmp_path / 'figures').iterdir()}
  assert set(tracker.figures) == wanted and 'learning' in wanted
  assert tracker.ends == [summary]


def squares(number):
  """Images of 20 pixels with 0 to 2 bright squares of 5."""
  rng = np.random.default_rng(0)
  images, counts = np.zeros((number, 20, 20), np.float32), rng.integers(0, 3, number)
  for image, count in zip(images, counts, strict=True):
    for row in rng.permutation([1, 13])[:count]:
      column = rng.integers(0, 15)
      image[row : row + 5, column : column + 5] = 1.0
  return images, counts


SMALL = {
  'model__cell_size': 16,
  'model__code_size': 4,
  'model__glimpse_size': 6,
  **{
    f'model__{part}_sizes': (16,)
    for part in ('encoder', 'presence', 'location', 'glimpse_encoder', 'glimpse_decoder')
  },
}


@pytest.mark.slow
def test_arrays_in_memory_are_fitted_saved_and_loaded(tmp_path):
  images, counts = squares(200)
  records = []

  class Tracker(air_jax.Callback):
    def on_metrics(self, record):
      records.append(record)

  model = air_jax.fit(
    images, max_objects=2, object_size=5, counts=counts, steps=30, callbacks=[Tracker()], **SMALL
  )
  assert model.step == 30 and records[-1].split == 'test'
  assert 'count_accuracy' in records[-1].scalars
  assert model.config.model.size_prior_mean == pytest.approx(4 / 3 * 5 / 20)
  found = model.parse(images[:8])
  voting = SMALL | {'model__cell': 'voting', 'workdir': tmp_path / 'run'}
  assert air_jax.fit(images, max_objects=2, steps=1, **voting).step == 1
  assert (tmp_path / 'run' / 'figures').is_dir()
  changes = {'data.canvas_size': 40, 'model.max_steps': 5}
  larger = air_jax.load(tmp_path / 'run', changes=changes)
  assert larger.parse(np.zeros((2, 40, 40), np.uint8)).count_probs.shape == (2, 6)
  with pytest.raises(UserError, match='loaded with changes cannot be saved'):
    larger.save(tmp_path / 'larger')
  model.save(tmp_path / 'kept')
  again = air_jax.load(tmp_path / 'kept')
  assert again.step == 30 and repr(again) == repr(model)
  for ours, theirs in zip(*map(jax.tree.leaves, (again.parse(images[:8]), found)), strict=True):
    np.testing.assert_array_equal(ours, theirs)
  with pytest.raises(UserError, match='holds a run already'):
    model.save(tmp_path / 'kept')


@pytest.mark.parametrize(
  ('images', 'changes', 'says'),
  (
    (np.zeros((9, 8)), {}, r'shape \[9, 8\]'),
    (np.zeros((9, 8, 7)), {}, 'square'),
    (np.full((9, 8, 8), 2.0), {}, r'\[0, 1\]'),
    (np.full((9, 8, 8), np.nan), {}, r'\[nan, nan\]; floats must be finite'),
    (np.zeros((9, 8, 8), np.int64), {}, 'int64'),
    (np.zeros((90, 8, 8)), {'max_objects': 0}, 'max_objects=0 is not allowed'),
    (np.zeros((90, 8, 8)), {'object_size': 9}, r'object_size=9 is not allowed; .*\(0, 8\) pixels'),
    (np.zeros((90, 8, 8)), {'train__bach_size': 9}, "no argument 'train__bach_size'"),
  ),
)
def test_arrays_that_cannot_be_fitted_are_refused_without_a_word_of_flags(images, changes, says):
  with pytest.raises(UserError, match=says) as caught:
    air_jax.fit(images, **{'max_objects': 1} | changes)
  assert '--' not in str(caught.value)


def test_a_model_loads_without_computing_its_initial_parameters(finished_run, monkeypatch):
  def computed(*args, **kwargs):
    raise AssertionError('initial parameters were computed')

  monkeypatch.setattr(jax.random, 'truncated_normal', computed)
  model = restore.load(finished_run)
  assert model.step == 20
  assert pathlib.Path(finished_run).exists()
