"""Sources of glyphs and scenes: their folders, downloads, and functions of your own."""

import dataclasses
import inspect
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples

from air_jax.config import schema
from air_jax.data import (
  composition,
  downloads,
  glyphs,
  image_folder,
  loading,
  mnist,
  objects,
  omniglot,
  sources,
  tfds_builders,
)
from air_jax.errors import UserError


@pytest.fixture
def data_config(tmp_path, monkeypatch):
  """Keeps its scenes in the user's cache folder, which does not exist yet."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'made' / 'cache'))
  return samples.data_config()


@pytest.mark.parametrize('source', [*sources.NAMES, 'own_data:bars'])
def test_the_configuration_allows_every_source(data_config, source):
  layout = 'occluding' if source == 'table_primitives' else data_config.layout
  schema.check_data(dataclasses.asdict(data_config) | {'source': source, 'layout': layout})


def test_unknown_source_is_refused_with_the_known_ones(data_config):
  config = dataclasses.replace(data_config, source='cifar')
  with pytest.raises(UserError, match=r"data\.source='cifar' .* 'digits', .* 'module:function'"):
    sources.read(config, 'train')


def test_cache_is_where_it_is_said_to_be(data_config, tmp_path, monkeypatch):
  assert sources.cache_folder(data_config) == tmp_path / 'made' / 'cache' / 'air_jax'
  monkeypatch.setenv('HOME', str(tmp_path))
  for given, expected in (('~/mine', tmp_path / 'mine'), ('/there', pathlib.Path('/there'))):
    assert sources.cache_folder(dataclasses.replace(data_config, cache_dir=given)) == expected
  monkeypatch.setenv('XDG_CACHE_HOME', '')
  assert sources.cache_folder(data_config) == tmp_path / '.cache' / 'air_jax'


def test_own_images_are_loaded_from_their_folder_and_not_kept(data_config, monkeypatch):
  config = dataclasses.replace(data_config, source='folder', dir='/mine')
  asked = []
  scenes = image_folder.unlabelled(np.zeros((2, 50, 50, 1), np.uint8), np.zeros(2, np.int32))
  monkeypatch.setattr(image_folder, 'load', lambda *args: asked.append(args) or scenes)
  assert loading.load(config, 'train') is loading.load(config, 'test') is scenes
  assert asked == [(config, 'train'), (config, 'test')]
  assert not sources.cache_folder(config).exists()


@pytest.mark.parametrize('given', ['there', '~/there', ''])
def test_mnist_comes_from_the_folder_given_or_is_fetched(
  data_config, monkeypatch, tmp_path, given
):  # fmt: skip
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'there').mkdir()
  arrays = samples.write_idx(tmp_path / 'there')
  fetched = []
  monkeypatch.setattr(downloads, 'fetch', lambda *args: fetched.append(args) or tmp_path / 'there')
  config = dataclasses.replace(data_config, source='mnist', mnist_dir=given, omniglot_dir='other')
  for split, (images, labels) in arrays.items():
    glyphs = sources.read_glyphs(config, split)
    np.testing.assert_array_equal(glyphs.images, images)
    np.testing.assert_array_equal(glyphs.labels, labels)
  cache = sources.cache_folder(config) / 'downloads'
  assert fetched == ([] if given else 2 * [('mnist', mnist.SOURCE, cache)])


def test_omniglot_comes_from_the_folder_given_or_is_fetched(data_config, monkeypatch, tmp_path):
  fetched = []
  monkeypatch.setattr(downloads, 'fetch', lambda *args: fetched.append(args) or tmp_path / 'cache')
  config = dataclasses.replace(data_config, source='omniglot', mnist_dir='/other')
  with pytest.raises(UserError, match=r"omniglot_dir='.*/cache' holds no"):
    sources.read_glyphs(config, 'train')
  assert fetched == [('omniglot', omniglot.SOURCE, sources.cache_folder(config) / 'downloads')]
  config = dataclasses.replace(config, omniglot_dir=str(tmp_path / 'given'))
  with pytest.raises(UserError, match=r"omniglot_dir='.*/given' holds no"):
    sources.read_glyphs(config, 'train')
  assert len(fetched) == 1


def test_home_of_nobody_is_named(data_config, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  config = dataclasses.replace(data_config, source='mnist', mnist_dir='~no-such-user/nowhere')
  with pytest.raises(UserError, match=r"data\.mnist_dir='~no-such-user/nowhere' is not a folder"):
    sources.read_glyphs(config, 'train')


def test_shapes_and_solids_need_no_glyphs(data_config):
  for source in ('sprites', 'dsprites', 'table_primitives'):
    config = dataclasses.replace(data_config, source=source)
    assert sources.read_glyphs(config, 'train') is None


OWN_DATA = """
import numpy as np
from air_jax.data.glyphs import Glyphs
from air_jax.data.image_folder import unlabelled

def bars(split):
  images = np.zeros((5, 28, 28), np.uint8)
  images[:, 8:20, 12:16] = 255 if split == 'train' else 128
  return Glyphs(images, np.arange(5))

def photos(split):
  images = np.full((40, 50, 50, 1), 7 if split == 'train' else 9, np.uint8)
  return unlabelled(images, np.arange(40) % 3)

def small(split):
  return unlabelled(np.zeros((40, 20, 20, 1), np.uint8), np.zeros(40, np.int32))

def floats(split):
  return Glyphs(np.zeros((5, 28, 28)), np.arange(5))

def uneven(split):
  return Glyphs(np.zeros((5, 28, 28), np.uint8), np.arange(4))

def pair(split):
  return np.zeros((5, 28, 28), np.uint8), np.arange(5)
"""


@pytest.fixture
def own_data(data_config, tmp_path, monkeypatch):
  """A function of a name in a module outside the package that makes it the source."""
  (tmp_path / 'own_data.py').write_text(inspect.cleandoc(OWN_DATA))
  monkeypatch.syspath_prepend(tmp_path)
  return lambda name, **changes: dataclasses.replace(
    data_config, source=f'own_data:{name}', train_scenes=48, test_scenes=16, **changes
  )


@pytest.mark.filterwarnings('ignore::ResourceWarning')  # of TFDS's temporary folders
def test_glyphs_of_your_own_are_composed_kept_streamed_and_composed_online(own_data):
  config = own_data('bars')
  for split, shade in (('train', 255), ('test', 128)):
    scenes = loading.load(config, split)
    np.testing.assert_array_equal(np.unique(scenes.images), [0, shade])
    np.testing.assert_array_equal((scenes.images > 0).sum((1, 2, 3)), 48 * scenes.counts)
  assert len(list(sources.cache_folder(config).glob('scenes-*.npz'))) == 2
  memory, stream, online = (
    loading.batch_source(dataclasses.replace(config, **changes), 16)
    for changes in ({}, {'reading': 'stream'}, {'online': True})
  )
  drawn = memory.sample_indices(3, 5, 1)[0]
  np.testing.assert_array_equal(
    stream.sample_indices(3, 5, 1)[0][0], memory.gather(memory.arrays, drawn)[0]
  )
  stream.close()
  assert tfds_builders.for_config(dataclasses.replace(config, seed=1)).name == 'composed_scenes'
  images, counts = jax.jit(online.gather)(online.arrays, (np.uint32(0), 0))
  np.testing.assert_array_equal((np.asarray(images) > 0).sum((1, 2, 3)), 48 * counts)


def test_scenes_of_your_own_are_taken_as_they_are(own_data):
  config = own_data('photos')
  assert (loading.load(config, 'test').images == 9).all()
  assert not sources.cache_folder(config).exists()
  source = loading.batch_source(config, 8)
  images, counts = source.gather(source.arrays, source.sample_indices(0, 0, 1)[0])
  assert (np.asarray(images) == 7).all() and set(np.asarray(counts)) == {0, 1, 2}
  for changes in ({'online': True}, {'reading': 'stream'}):
    with pytest.raises(UserError, match=rf'data\.{next(iter(changes))}=.* are given'):
      loading.batch_source(own_data('photos', **changes), 8)
  with pytest.raises(UserError, match='provides complete scenes, not glyphs'):
    sources.read_glyphs(config, 'train')


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('small', r'images of shape \[40, 20, 20, 1\] .* \[\'B\', 50, 50, 1\], as data.canvas_size'),
    ('floats', r'type float64; they must have shape .* type uint8'),
    ('uneven', r'returned 5 images, but labels of another length'),
    ('pair', r'returned tuple; it must return Glyphs or LabelledScenes'),
    ('nothing', r"data\.source='own_data:nothing' cannot be imported: .*nothing"),
  ],
)
def test_what_is_no_data_is_refused_in_one_sentence(own_data, name, message):
  with pytest.raises(UserError, match=message):
    sources.read(own_data(name), 'train')


@pytest.mark.parametrize(
  'changes, expected',
  [
    (
      {},
      'scenes of 0 to 2 objects (the handwritten digits that scikit-learn ships, enlarged to 20 '
      'pixels)',
    ),
    (
      {'source': 'mnist', 'min_scale': 0.4, 'max_scale': 1.4, 'counts': (3,)},
      'scenes of 3 objects (handwritten digits of MNIST, at 0.4 to 1.4 times their size)',
    ),
    (
      {'source': 'sprites', 'counts': (3, 0, 1), 'min_scale': 2.0, 'max_scale': 2.0},
      'scenes of 0, 1, 3 objects (circle, square, triangle, at 2 times their size)',
    ),
    ({'source': 'folder', 'dir': '/secret'}, 'pictures of a folder'),
    ({'source': 'own_data:bars'}, 'images of its own source'),
  ],
)
def test_what_a_model_was_trained_on_is_said_in_words(data_config, changes, expected):
  assert sources.about(dataclasses.replace(data_config, **changes)) == expected


def test_glyphs_of_unknown_labels_are_padded_and_all_drawn(data_config):
  images = np.full((3, 28, 28), 255, np.uint8)
  unknown = glyphs.Glyphs(images, np.full(3, -1, np.int32))
  config = composition.recipe(data_config)
  padded = jax.tree.map(jnp.asarray, glyphs.pad(unknown))
  keys = jax.random.split(jax.random.key(0), 20)
  drawn = jax.vmap(lambda key: objects.sample(config, padded, key).ink)(keys)
  assert (drawn.max((2, 3)) == 255).all()  # none of the padding
