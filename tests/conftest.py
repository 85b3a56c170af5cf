"""What several test files share."""

import os
import pathlib
import shutil

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Programs here take longer to compile than to run: they are compiled without optimisations, by
# XLA's older emitters of fused loops, which take half as long, and in one part, since other tests
# use the other cores. What one test compiled, other tests, their processes and later calls of
# pytest load from disk. To be set before JAX is imported.
os.environ |= {
  'XLA_FLAGS': '--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1',
  'JAX_DISABLE_MOST_OPTIMIZATIONS': 'true',
  'JAX_COMPILATION_CACHE_DIR': str(ROOT / '.pytest_cache' / 'compiled'),
  'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
}

import jax
import mutations

import air_jax
from air_jax.config import schema as configuration
from air_jax.configs import tiny
from air_jax.model import air

_MOST_MAPS = 40_000  # of memory, of 65,530 that Linux allows a process: programs take several each


def pytest_addoption(parser):
  text = (
    'random examples for each test of damaged files and odd values; 0 for a few, always the same'
  )
  parser.addoption('--fuzz', type=int, default=0, metavar='N', help=text)


def pytest_configure(config):
  mutations.register(config.getoption('fuzz'))


_TRAINING = {'finished_run', 'copy', 'run_config'}  # fixtures of tests that train


def pytest_collection_modifyitems(items):
  """Marks tests that train as slow; files of slow tests run first, so that no process waits."""
  for item in items:
    if _TRAINING & {*item.fixturenames}:
      item.add_marker('slow')
  slow = {item.path for item in items if item.get_closest_marker('slow')}
  items.sort(key=lambda item: item.path not in slow)


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


@pytest.fixture
def real_dir():
  """The folder of pictures that nobody of the project made, with their truth."""
  return _shared('real')


def _shared(name):
  folder = ROOT.parent / 'shared' / 'data' / name
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


@pytest.fixture(scope='module', autouse=True)
def few_programs():
  """Lets go of compiled programs before they are too many for a process."""
  yield
  maps = pathlib.Path('/proc/self/maps')
  if maps.exists() and maps.read_bytes().count(b'\n') > _MOST_MAPS:
    jax.clear_caches()


@pytest.fixture(scope='session')
def scene_cache(tmp_path_factory):
  return str(tmp_path_factory.mktemp('scenes'))


@pytest.fixture
def run_config(tiny_config, scene_cache):
  """A fresh ConfigDict to train by."""
  tiny_config.data.cache_dir = scene_cache
  return tiny_config


@pytest.fixture(scope='session')
def finished_run(scene_cache, tmp_path_factory):
  """The folder of a run of the tiny configuration that was never interrupted; not to be changed."""
  config = tiny.get_config()
  config.data.cache_dir = scene_cache
  folder = tmp_path_factory.mktemp('finished') / 'run'
  air_jax.train(config, folder)
  return folder


@pytest.fixture
def copy(finished_run, tmp_path):
  """A copy of that folder which a test may change."""
  return shutil.copytree(finished_run, tmp_path / 'copy')
