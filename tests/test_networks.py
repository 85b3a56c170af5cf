"""The networks against their equations in NumPy, and where they start."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from air_jax import networks


def _dense(layer, x):
  return x @ layer['kernel'] + layer.get('bias', 0)


def _elu(x):
  return np.where(x > 0, x, np.expm1(x))


def _variant(model, **changes):
  """Networks of another configuration, and random parameters for them."""
  nets = networks.build(dataclasses.replace(model.config, **changes))
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(nets.init, jax.random.key(0))
  return nets, jax.tree.map(lambda x: rng.normal(0, 0.2, x.shape).astype(x.dtype), shapes)


def test_the_cell_is_a_long_short_term_memory(model):
  nets, params = _variant(model)
  h, c = params['cell']['initial_h'], params['cell']['initial_c']
  state = nets.initial_state(params)
  np.testing.assert_array_equal(state, (h, c))
  gates, z = np.linspace(-1, 1, 64), np.linspace(-2, 2, 7)
  pre = gates + _dense(params['cell']['gates'], np.concatenate([z, h]))
  write, forget, keep, value = np.split(pre, 4)
  c = expit(forget + 1) * c + expit(write) * np.tanh(value)
  h = expit(keep) * np.tanh(c)
  new_state, output = nets.recur(params, state, gates, z)
  np.testing.assert_allclose(new_state, (h, c), rtol=1e-4, atol=1e-6)
  np.testing.assert_array_equal(output, new_state[0])


def _encode(encoder, picture, size):
  if size:
    side = math.ceil(len(picture) / size) * size
    padded = np.zeros((side, side))
    padded[: len(picture), : len(picture)] = picture
    corners = [(i, j) for i in range(0, side, size) for j in range(0, side, size)]
    patches = [padded[i : i + size, j : j + size].ravel() for i, j in corners]
    picture = np.stack([_elu(_dense(encoder['Dense_0'], patch)) for patch in patches])
  return _elu(_dense(encoder['_Mlp_0']['Dense_0'], np.ravel(picture)))


@pytest.mark.parametrize('size', (0, 7))
def test_pictures_are_encoded_by_an_mlp_on_patches_or_on_pixels(model, image, size):
  nets, params = _variant(model, residual=True, residual_sizes=(6,), patch_size=size)
  gates = _dense(params['image_gates'], _encode(params['image_encoder'], image, size))
  features = _encode(params['residual_encoder'], image, size)
  np.testing.assert_allclose(nets.encode_image(params, image), gates, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(nets.encode_residual(params, image), features, rtol=1e-3, atol=1e-4)


def test_hidden_layers_have_an_elu_and_output_layers_none(model):
  nets, params = _variant(model)
  h, head = np.linspace(-1, 1, 16), params['presence_head']
  logit = _dense(head['Dense_1'], _elu(_dense(head['Dense_0'], h)))[0]
  np.testing.assert_allclose(nets.presence(params, h), logit, rtol=1e-4)


def test_heads_start_at_their_biases(model, params):
  nets = model.networks
  code, h = jnp.zeros(model.config.code_size), jnp.zeros(model.config.cell_size)
  where, what = nets.location(params, h), nets.encode_glimpse(params, jnp.zeros((8, 8)))
  np.testing.assert_allclose(nets.presence(params, h), model.config.presence_bias)
  np.testing.assert_allclose(where.mean, [np.log(0.42 / 0.58), 0, 0], rtol=1e-5)
  np.testing.assert_allclose(where.std, np.log1p(np.exp(model.config.where_std_bias)), rtol=1e-5)
  np.testing.assert_allclose(what.mean, 0)
  np.testing.assert_allclose(what.std, np.log1p(np.exp(model.config.what_std_bias)), rtol=1e-5)
  glimpse = nets.decode_glimpse(params, code)
  np.testing.assert_allclose(glimpse, np.full((8, 8), expit(model.config.output_bias)), rtol=1e-5)
  # And near them for other inputs: a tenth of the usual variance.
  kernel = params['glimpse_decoder']['Dense_1']['kernel']
  np.testing.assert_allclose(kernel.std(), np.sqrt(0.1 / 16), rtol=0.1)


def test_only_what_is_used_has_parameters(model):
  def parts(**changes):
    nets = networks.build(dataclasses.replace(model.config, **changes))
    return set(jax.eval_shape(nets.init, jax.random.key(0)))

  assert parts(residual=True) - parts() == {'residual_encoder'}
  assert parts(baseline=True) - parts() == {'baseline_net'}
