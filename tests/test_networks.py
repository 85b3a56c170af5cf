"""The networks against their equations in NumPy, and where they start."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
from PIL import Image
from scipy import ndimage
from scipy.special import expit, softmax

from air_jax.model import air, encoders
from air_jax.model.parts import Seen


def _dense(layer, x):
  return x @ layer['kernel'].T + layer.get('bias', 0)


def _elu(x):
  return np.where(x > 0, x, np.expm1(x))


def _variant(model, **changes):
  """Networks of another configuration, and random parameters for them."""
  changed = samples.changed(model, **changes)
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(air.init, changed, jax.random.key(0))
  return changed.networks, jax.tree.map(
    lambda x: rng.normal(0, 0.2, x.shape).astype(x.dtype), shapes
  )


def _lstm(model, **changes):
  nets, params = _variant(model, **changes)
  return nets.cell, params


def _seen(image, encoded=(), left=None, z=0.0, size=0.42):
  return Seen(image, encoded, image if left is None else left, z, False, size, size)


def test_an_lstm_finds_objects_by_what_it_sees_and_remembers(model):
  cell, params = _lstm(model)
  h, c = params['cell']['initial_h'], params['cell']['initial_c']
  state = cell.initial_state(params)
  np.testing.assert_array_equal(state, (h, c))
  gates, z = np.linspace(-1, 1, 64), np.linspace(-2, 2, 7)
  pre = gates + _dense(params['cell']['gates'], np.concatenate([z, h]))
  i, f, o, g = np.split(pre, 4)
  c = expit(f + 1) * c + expit(i) * np.tanh(g)
  h = expit(o) * np.tanh(c)
  seen = _seen(np.zeros((50, 50, 1)), gates, z=z)
  new_state, (output, where, mask) = cell.find(params, state, seen)
  assert mask is None
  np.testing.assert_allclose(new_state, (h, c), rtol=1e-4, atol=1e-6)
  np.testing.assert_array_equal(output, new_state[0])
  head = params['location_head']
  mean, raw_std = np.split(_dense(head['output'], _elu(_dense(head['hidden_0'], h))), 2)
  np.testing.assert_allclose(where.mean, mean, rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(where.std, np.log1p(np.exp(raw_std)), rtol=1e-3)


def _describe(layer, picture, size):
  """Features of the patches by their row and column, in order."""
  side = math.ceil(len(picture) / size) * size
  padded = np.zeros((side, side, picture.shape[-1]))
  padded[: len(picture), : len(picture)] = picture
  return {
    (i // size, j // size): _elu(_dense(layer, padded[i : i + size, j : j + size].ravel()))
    for i in range(0, side, size)
    for j in range(0, side, size)
  }


def _encode(encoder, picture, size, rounds):
  if size:
    near = _describe(encoder['patches'], picture, size)
    for i in range(2 * rounds):
      layer = encoder[f'round_{i // 2}_{("down", "across")[i % 2]}']
      offsets = [(0, n) if i % 2 else (n, 0) for n in (-1, 0, 1)]
      near = {place: _elu(_dense(layer, _at(near, place, offsets))) for place in near}
    picture = np.stack(list(near.values()))
  return _elu(_dense(encoder['mlp']['hidden_0'], np.ravel(picture)))


@pytest.mark.parametrize(
  ('size', 'rounds', 'channels'), ((0, 0, 1), (7, 0, 1), (7, 1, 3), (7, 2, 1))
)
def test_pictures_are_encoded_by_an_mlp_on_patches_or_on_pixels(model, size, rounds, channels):
  cell, params = _lstm(model, patch_size=size, patch_rounds=rounds, channels=channels)
  image = np.random.default_rng(1).uniform(size=(50, 50, channels))
  gates = _dense(
    params['cell']['image_gates'], _encode(params['image_encoder'], image, size, rounds)
  )
  np.testing.assert_allclose(cell.encode(params, image), gates, rtol=1e-3, atol=1e-4)


def _around(features, place, apart):
  return _at(features, place, list(itertools.product((-apart, 0, apart), repeat=2)))


def _at(features, place, offsets):
  row, column = place
  blank = np.zeros_like(next(iter(features.values())))
  return np.concatenate([features.get((row + i, column + j), blank) for i, j in offsets])


def test_attention_averages_places_and_features_near_a_mode_of_a_softmax_over_patches(model):
  reach = 0.42
  cell, params = _lstm(
    model, residual=True, attention_heads=2, patch_size=7, patch_features=3, channels=3
  )
  image, attention = np.random.default_rng(1).uniform(size=(50, 50, 3)), params['attention']
  dense = [attention[name] for name in ('patches', 'near', 'narrow', 'far', 'score')]
  near = _describe(dense[0], image, 7)
  near = {place: _elu(_dense(dense[1], _around(near, place, 1))) for place in near}
  thin = {place: _elu(_dense(dense[2], near[place])) for place in near}
  features = np.stack(
    [_elu(_dense(dense[3], np.concatenate([_around(thin, at, 2), near[at]]))) for at in near]
  )
  places = np.array([[(2 * column + 1) / 8 - 1, (2 * row + 1) / 8 - 1] for row, column in near])
  preference = np.stack([attention['preference'][at] for at in near])
  scores = encoders.SHARPNESS * (_dense(dense[4], features) + preference).T
  weights = softmax(scores, axis=1)
  for _ in range(encoders.MEAN_SHIFT_STEPS):
    centre = weights @ places
    away = ((places[None] - centre[:, None]) ** 2).sum(-1)
    weights = softmax(scores - 0.5 * away / reach**2, axis=1)
  expected = np.concatenate([(weights @ places).ravel(), (weights @ features).ravel()])
  # The head starts at the first place attended to, and sees them all beside h.
  state, gates, z = cell.initial_state(params), np.linspace(-1, 1, 64), np.linspace(-2, 2, 7)
  seen = _seen(np.zeros_like(image), gates, image, z, reach)
  _, (h, where, _) = cell.find(params, state, seen)
  pre = gates + _dense(params['cell']['gates'], np.concatenate([z, expected, state[0]]))
  i, f, o, g = np.split(pre, 4)
  np.testing.assert_allclose(
    h, expit(o) * np.tanh(expit(f + 1) * state[1] + expit(i) * np.tanh(g)), rtol=1e-3, atol=1e-5
  )
  head = params['location_head']
  outputs = _elu(_dense(head['hidden_0'], np.concatenate([h, expected])))
  mean, raw_std = np.split(_dense(head['output'], outputs), 2)
  start = [0, *np.arctanh(0.98 * expected[:2])]
  np.testing.assert_allclose(where.mean, mean + start, rtol=1e-3)
  np.testing.assert_allclose(where.std, np.log1p(np.exp(raw_std)), rtol=1e-3)


def test_attention_torn_between_two_objects_settles_on_one(model):
  _, params = _lstm(model, residual=True, attention_heads=1, patch_size=5)
  preference = np.zeros((10, 10, 1), np.float32)
  preference[4, 1], preference[4, 8] = 1.0, 0.8  # left slightly more than right
  attention = params['attention'] | {'preference': preference}
  attention['score'] = jax.tree.map(np.zeros_like, attention['score'])
  module = encoders.Attention(5, model.spec.patch_features, 1)
  x, y = module.apply({'params': attention}, np.zeros((50, 50, 1)), 0.3)[:2]
  assert abs(x - -0.7) < 0.15 and abs(y - -0.1) < 0.15


def test_hidden_layers_have_an_elu_and_output_layers_none(model):
  nets, params = _variant(model)
  h, head = np.linspace(-1, 1, 16), params['presence_head']
  logit = _dense(head['output'], _elu(_dense(head['hidden_0'], h)))[0]
  np.testing.assert_allclose(nets.presence(params, h), logit, rtol=1e-4)


def test_heads_start_at_their_biases(model, params):
  nets = model.networks
  code, h = jnp.zeros(model.spec.code_size), jnp.zeros(model.spec.cell_size)
  blank, state = jnp.zeros((50, 50, 1)), nets.cell.initial_state(params)
  seen = _seen(blank, nets.cell.encode(params, blank), z=jnp.zeros(3 + model.spec.code_size))
  where = nets.cell.find(params, state, seen)[1].where
  what = nets.encode_glimpse(params, jnp.zeros((8, 8, 1)))
  np.testing.assert_allclose(nets.presence(params, h), model.numbers.presence_bias)
  np.testing.assert_allclose(where.mean[0], np.log(0.42 / 0.58), atol=0.1)
  np.testing.assert_allclose(where.std, np.log1p(np.exp(model.numbers.where_std_bias)), rtol=1e-5)
  np.testing.assert_allclose(what.mean, 0)
  np.testing.assert_allclose(what.std, np.log1p(np.exp(model.numbers.what_std_bias)), rtol=1e-5)
  glimpse = nets.decode_glimpse(params, code)
  np.testing.assert_allclose(
    glimpse, np.full((8, 8, 1), expit(model.numbers.output_bias)), rtol=1e-5
  )
  # And near them for other inputs: a tenth of the usual variance.
  kernel = params['glimpse_decoder']['output']['kernel']
  np.testing.assert_allclose(kernel.std(), np.sqrt(0.1 / 16), rtol=0.1)


def test_only_what_is_used_has_parameters(model):
  def parts(**changes):
    return set(jax.eval_shape(air.init, samples.changed(model, **changes), jax.random.key(0)))

  voting = parts(cell='voting')
  assert voting - parts() == {'patches', 'look_0', 'look_1'}
  assert parts() - voting == {'image_encoder', 'cell', 'location_head'}
  assert voting - parts(cell='voting', looks=1) == {'look_1'}
  assert parts(residual=True) - parts() == {'attention'}
  assert parts(baseline=True) - parts() == {'baseline'}
  assert parts(background='constant') - parts() == {'background_image'}
  ends = {'background_encoder', 'background_decoder'}
  assert parts(background='latent', background_code_size=2) - parts() == ends


def test_a_glimpse_has_a_decoder_output_for_each_of_its_channels(model):
  nets, params = _variant(model, channels=3)
  code, decoder = np.linspace(-1, 1, 4), params['glimpse_decoder']
  outputs = _dense(decoder['output'], _elu(_dense(decoder['hidden_0'], code)))
  glimpse = nets.decode_glimpse(params, code)
  np.testing.assert_allclose(glimpse, expit(outputs).reshape(8, 8, 3), rtol=1e-4)


def test_without_a_background_there_is_black_and_nothing_to_encode(model, params, image):
  nets = model.networks
  code = nets.encode_background(params, image)
  assert code.mean.shape == code.std.shape == (0,)
  np.testing.assert_array_equal(nets.decode_background(params, code.mean), np.zeros((50, 50, 1)))


def test_a_constant_background_is_one_image_that_starts_at_the_bias(model):
  nets, params = _variant(model, background='constant', channels=3)
  assert nets.encode_background(params, jnp.ones((50, 50, 3))).mean.shape == (0,)
  background = nets.decode_background(params, jnp.zeros(0))
  np.testing.assert_allclose(background, expit(params['background_image']), rtol=1e-5)
  start = nets.init(jax.random.key(0), model.numbers)
  expected = np.full((50, 50, 3), expit(model.numbers.output_bias))
  np.testing.assert_allclose(nets.decode_background(start, jnp.zeros(0)), expected, rtol=1e-5)


LATENT = {
  'background': 'latent',
  'background_code_size': 2,
  'background_sizes': (6,),
  'channels': 3,
}


def test_a_latent_background_is_interpolated_between_the_colours_of_a_grid(model):
  nets, params = _variant(model, background_grid=4, **LATENT)
  code, decoder = np.array([0.7, -1.3]), params['background_decoder']
  grid = _dense(decoder['output'], _elu(_dense(decoder['hidden_0'], code))).reshape(4, 4, 3)
  places = (np.arange(50) + 0.5) / 50 * 4 - 0.5  # in cells of the grid; colours hold to the edge
  rows, columns = np.meshgrid(places, places, indexing='ij')
  logits = [
    ndimage.map_coordinates(grid[..., c], (rows, columns), order=1, mode='nearest')
    for c in range(3)
  ]
  background = nets.decode_background(params, code)
  np.testing.assert_allclose(background, expit(np.stack(logits, -1)), rtol=1e-4)
  start = nets.decode_background(nets.init(jax.random.key(0), model.numbers), jnp.zeros(2))
  np.testing.assert_allclose(
    start, np.full((50, 50, 3), expit(model.numbers.output_bias)), rtol=1e-5
  )


def test_the_code_of_a_background_is_read_from_a_small_copy_of_the_image(model):
  nets, params = _variant(model, background_grid=4, **LATENT)
  image = np.random.default_rng(1).uniform(size=(50, 50, 3)).astype(np.float32)
  small = [
    np.asarray(Image.fromarray(image[..., c]).resize((8, 8), Image.Resampling.BILINEAR))
    for c in range(3)
  ]
  encoder = params['background_encoder']
  hidden = _elu(_dense(encoder['hidden_0'], np.stack(small, -1).ravel()))
  mean, raw_std = np.split(_dense(encoder['output'], hidden), 2)
  code = nets.encode_background(params, image)
  np.testing.assert_allclose(code.mean, mean, rtol=1e-4)
  np.testing.assert_allclose(code.std, np.log1p(np.exp(raw_std)), rtol=1e-4)
  start = nets.encode_background(
    nets.init(jax.random.key(0), model.numbers), jnp.zeros((50, 50, 3))
  )
  np.testing.assert_allclose(start.mean, 0)
  np.testing.assert_allclose(start.std, np.log1p(np.exp(model.numbers.what_std_bias)), rtol=1e-5)
