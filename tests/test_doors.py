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


@pytest.fixture
def small(short):
  """The same with a model that takes less time to compile."""
  short.model.update(max_steps=2, patch_rounds=0)
  short.objective.name = 'exact'
  return short


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


def test_an_encoder_of_a_user_is_trained_and_found_again(small, module, tmp_path):
  module('my_encoder', ENCODER)
  air_jax.train(small, tmp_path / 'run', networks='my_encoder:build', figures=False)
  model = air_jax.load(tmp_path / 'run')
  assert model.params['image_encoder'].keys() == {'Conv_0', 'Dense_0'}
  start = air.init(model.model, jax.random.key(0))['image_encoder']['Conv_0']['kernel']
  assert (model.params['image_encoder']['Conv_0']['kernel'] != start).any()
  assert model.parse(np.zeros((2, 50, 50), np.uint8)).counts.shape == (2,)
  import my_encoder

  air_jax.train(small, tmp_path / 'same', networks=my_encoder.build, figures=False)
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


def test_a_likelihood_of_a_user_decides_the_bound(small, module, tmp_path):
  module('my_likelihood', LIKELIHOOD)
  import my_likelihood

  air_jax.train(small, tmp_path / 'run', likelihood=my_likelihood.Laplace, figures=False)
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


def test_bernoulli_is_the_second_likelihood(small, tmp_path):
  small.model.likelihood = 'bernoulli'
  air_jax.train(small, tmp_path / 'run', figures=False)
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
  small, module, tmp_path, capsys
):
  module('my_objective', ESTIMATOR)
  small.objective.name = 'my_objective:my_loss'
  air_jax.train(small, tmp_path / 'run', figures=False)
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


def test_a_model_loads_without_computing_its_initial_parameters(finished_run, monkeypatch):
  def computed(*args, **kwargs):
    raise AssertionError('initial parameters were computed')

  monkeypatch.setattr(jax.random, 'truncated_normal', computed)
  model = restore.load(finished_run)
  assert model.step == 20
  assert pathlib.Path(finished_run).exists()
