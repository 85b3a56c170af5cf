"""What several test files share."""

import os
import pathlib
import shutil

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from air_jax.config import schema as configuration
from air_jax.configs import tiny
from air_jax.inference import run_figures
from air_jax.model import air
from air_jax.training import loop


@pytest.fixture
def tiny_config():
  """A fresh ConfigDict that a test may change."""
  return tiny.get_config()


@pytest.fixture
def mnist_dir():
  """The folder of MNIST's four files that this project's machines have."""
  return _shared('mnist')


@pytest.fixture
def omniglot_dir():
  """The folder of Omniglot's two small archives that this project's machines have."""
  return _shared('omniglot')


def _shared(name):
  folder = pathlib.Path(__file__).resolve().parents[2] / 'shared' / 'data' / name
  if not folder.is_dir():
    pytest.skip(f'no {name} at {folder}')
  return folder


@pytest.fixture(scope='session')
def model():
  return air.build(configuration.parse(tiny.get_config()).model)


@pytest.fixture(scope='session')
def params(model):
  return air.init(model, jax.random.key(0))


@pytest.fixture(scope='session')
def image(model):
  shape = model.spec.canvas_size, model.spec.canvas_size, model.spec.channels
  return jax.random.uniform(jax.random.key(1), shape)


@pytest.fixture(scope='session')
def noise(model):
  return air.sample_noise(model, jax.random.key(2))


@pytest.fixture(scope='module')
def compile_quickly():
  """For modules whose programs take longer to compile than to run."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
  jax.clear_caches()  # what else was compiled so differs in the last digits


@pytest.fixture(scope='session')
def compile_cache(tmp_path_factory):
  """Runs compile the same few functions: they share them, through the environment returned."""
  settings = {
    'jax_compilation_cache_dir': str(tmp_path_factory.mktemp('compiled')),
    'jax_persistent_cache_min_compile_time_secs': 0.0,
    'jax_persistent_cache_min_entry_size_bytes': -1,
  }
  former = {name: getattr(jax.config, name) for name in settings}
  for name, value in settings.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()  # it looks at its settings but once
  yield os.environ | {name.upper(): str(value) for name, value in settings.items()}
  for name, value in former.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()


@pytest.fixture(scope='session')
def scene_cache(tmp_path_factory):
  return str(tmp_path_factory.mktemp('scenes'))


@pytest.fixture
def run_config(tiny_config, scene_cache, compile_cache):
  """A fresh ConfigDict to train by."""
  tiny_config.data.cache_dir = scene_cache
  return tiny_config


@pytest.fixture(scope='session')
def finished_run(scene_cache, compile_cache, tmp_path_factory):
  """The folder of a run of the tiny configuration that was never interrupted; not to be changed."""
  config = tiny.get_config()
  config.data.cache_dir = scene_cache
  folder = tmp_path_factory.mktemp('finished') / 'run'
  loop.train(config, folder)
  return folder


@pytest.fixture
def copy(finished_run, tmp_path):
  """A copy of that folder which a test may change."""
  return shutil.copytree(finished_run, tmp_path / 'copy')


@pytest.fixture
def no_pictures(monkeypatch):
  """For runs whose pictures are of no concern: they take longest."""
  for name in ('draw_run', 'record_frame', 'draw_animations'):
    monkeypatch.setattr(run_figures, name, lambda *args: [])
