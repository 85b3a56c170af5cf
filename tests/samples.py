"""Small stand-ins: for MNIST, for the model; and scenes composed by the hundred."""

import dataclasses
import functools
import gzip

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from air_jax import objectives
from air_jax.config import schema as configuration
from air_jax.config.sections import ModelConfig
from air_jax.configs import tiny
from air_jax.data import composition, glyphs, mnist
from air_jax.model import air
from air_jax.objectives import distributions
from air_jax.types import ElboTerms, LabelledScenes

SUCCESS = 0.3  # of the prior of the count


def override(config, **values):
  """A copy with `section__key=value`s, of whatever type."""
  tree = config.to_dict()
  for key, value in values.items():
    section, _, inner = key.rpartition('__')
    (tree[section] if section else tree)[inner] = value
  return ConfigDict(tree)


def data_config(**changes):
  """The tiny configuration's `DataConfig`, changed."""
  return dataclasses.replace(configuration.parse(tiny.get_config()).data, **changes)


def compose(config, glyphs, stop, split='train', start=0):
  """Scenes start .. stop in one piece."""
  parts = list(composition.compose(config, glyphs, split, start, stop))
  assert max(len(part.images) for part in parts) <= 256
  return LabelledScenes(*map(np.concatenate, zip(*parts, strict=True)))


def mask(box, canvas_size):
  """Pixels of a box, by comparing coordinates."""
  y, x = np.mgrid[:canvas_size, :canvas_size]
  top, left, height, width = box
  return (top <= y) & (y < top + height) & (left <= x) & (x < left + width)


def plain_glyphs(ink):
  """Glyphs without a border, all of one shade each; the label is the index."""
  images = np.ones((len(ink), 28, 28), np.uint8) * np.asarray(ink, np.uint8)[:, None, None]
  return glyphs.Glyphs(images, np.arange(len(ink), dtype=np.int32))


def idx_bytes(array):
  """What an IDX file of bytes holds, by the text of its specification."""
  sizes = b''.join(n.to_bytes(4, 'big') for n in array.shape)
  return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_idx(folder):
  """Fills a folder with four small IDX files and returns {split: (images, labels)}."""
  rng = np.random.default_rng(0)
  arrays = {}
  for split, size in (('train', 5), ('test', 3)):
    images = np.pad(rng.integers(0, 256, (size, 20, 18), np.uint8), ((0, 0), (4, 4), (5, 5)))
    images[:, 4, 5] = np.arange(size)  # tells which it is
    labels = rng.integers(0, 10, size, np.uint8)
    arrays[split] = images, labels
    for name, array in zip(mnist.IDX_FILES[split], arrays[split], strict=True):
      (folder / name).write_bytes(gzip.compress(idx_bytes(array)))
  return arrays


def changed(model, **changes):
  """The model with another configuration, of which the architecture and numbers are parts."""
  config = ModelConfig(**dataclasses.asdict(model.spec), **model.numbers._asdict())
  return air.build(dataclasses.replace(config, **changes))


def variant(model, **changes):
  """The tiny model with another configuration; parameters, an image and noise for it."""
  return _variant(model.spec, model.numbers, tuple(sorted(changes.items())))


@functools.cache
def _variant(spec, numbers, changes):
  config = ModelConfig(**dataclasses.asdict(spec), **numbers._asdict())
  model = air.build(dataclasses.replace(config, **dict(changes)))
  shape = model.spec.canvas_size, model.spec.canvas_size, model.spec.channels
  image = jax.random.uniform(jax.random.key(1), shape)
  noise = air.sample_noise(model, jax.random.key(2))
  return model, air.init(model, jax.random.key(0)), image, noise


def theta():
  """The inputs of a loss of one made-up roll-out with T = 3, to differentiate in."""
  x, *layers = np.random.default_rng(0).normal(0, 1, (4, 5))
  left = x - np.cumsum([0 * x, *layers], axis=0)
  vectors = jnp.asarray([x, *layers], jnp.float32)
  return {
    'nll': jnp.asarray(0.5 * (left**2).sum(1), jnp.float32),
    'kl_z': jnp.array([0.0, 1.5, 2.5, 3.0]),
    'logits': jnp.array([0.4, -0.3, 0.8]),
    'baseline': jnp.array([4.5, 2.0, 1.0]),
    'products': vectors @ vectors.T,
  }


def terms_of(theta):
  """The terms of that roll-out."""
  return ElboTerms(
    nll=theta['nll'],
    kl_z=theta['kl_z'],
    log_ratio=theta['kl_z'],
    log_q=distributions.count_log_probs(theta['logits']),
    log_p=distributions.geometric_log_probs(0.3, 3),
    baseline=theta['baseline'],
    products=theta['products'],
  )


def value_of(loss, *args):
  """The value of a loss, without the new state that some return with it."""
  result = loss(*args)
  return result[0] if isinstance(result, tuple) else result


def sampled_gradients(loss, theta, smoothing, draws=200_000):
  """Gradients of a loss of those terms, one for each of many keys."""
  gradient = jax.grad(lambda theta, key: value_of(loss, terms_of(theta), key, smoothing))
  keys = jax.random.split(jax.random.key(1), draws)
  return jax.jit(jax.vmap(gradient, (None, 0)))(theta, keys)


def assert_unbiased(loss, theta, smoothing):
  """Checks that the gradients of a loss average to that of `exact`."""
  key = jax.random.key(0)
  exact = jax.grad(lambda theta: objectives.exact(terms_of(theta), key, smoothing))(theta)
  sampled = sampled_gradients(loss, theta, smoothing)
  for name in ('logits', 'nll', 'kl_z'):
    values = np.asarray(sampled[name], np.float64)
    error = values.std(0) / np.sqrt(len(values))
    assert (np.abs(values.mean(0) - exact[name]) < 4 * error).all(), name


def terms(model, params, image, noise):
  """The terms of one roll-out."""
  rolled = air.rollout(model, params, image, noise)
  return air.elbo_terms(model, params, image, rolled, SUCCESS)
