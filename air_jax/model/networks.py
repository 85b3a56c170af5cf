"""The networks inside AIR, and the only file that knows Flax.

`build` turns them into plain functions of (params, inputs), so that the roll-out in model.py can be
read, tested and scanned without a neural-network library. Everything is for one image.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from air_jax.types import Normal


def _scaled(variance):
  """Initial kernels [outputs, inputs] that change the variance of what passes by this factor."""
  return nn.initializers.variance_scaling(variance, 'fan_in', 'truncated_normal', -1, -2)


# Attention starts fairly sharp. (The best patch alone, with a straight-through gradient, learns
# faster at first and then fails.)
_SHARPNESS = 5.0
_SHIFTS = 3  # steps of mean shift
# Pictures are mostly black: larger weights bring features to unit variance.
_sparse = _scaled(9.0)
# Heads start near their biases: a tenth of the usual variance.
_small = _scaled(0.1)


class Networks(NamedTuple):
  """AIR's networks as pure functions; `params` is what `init` returned, a dict by part."""

  init: Callable  # key -> params
  initial_state: Callable  # params -> state of the recurrent cell
  encode_image: Callable  # params, image [H, W, C] -> [4 L] what it adds to the cell's gates
  attend: Callable  # params, image minus canvas [H, W, C] -> [R] places and what is there
  recur: Callable  # params, state, image gates [4 L], other inputs [I] -> state, h [L]
  presence: Callable  # params, h [L] -> [] log-odds that one more object is there
  location: Callable  # params, h [L], attended [R] -> Normal [3], q(z_where)
  encode_glimpse: Callable  # params, crop [h, w, C] -> Normal [D], q(z_what)
  decode_glimpse: Callable  # params, z_what [D] -> glimpse [h, w, C] in (0, 1)
  encode_background: Callable  # params, image [H, W, C] -> Normal [E], q(z_background)
  decode_background: Callable  # params, z_background [E] -> [H, W, C] in [0, 1)
  size_prior: Callable  # params -> ([], []) what is learned of the size prior, see `model.priors`
  baseline: Callable  # params, inputs [J] -> guesses [T], centre [], variance [], see `Baseline`


def build(config):
  """Makes the networks that a model configuration asks for.

  Args:
    config: `air_jax.config.ModelConfig`; every size and initial bias is taken from it.

  Returns:
    `Networks`.
  """
  module = _Networks(config)

  def init(key):
    return module.init(key, method='touch')['params']

  def part(method):
    return lambda params, *inputs: module.apply({'params': params}, *inputs, method=method)

  return Networks(init, *(part(name) for name in Networks._fields[1:]))


class _Networks(nn.Module):
  """All parts under one roof; each attribute made in `setup` is an entry of the parameters."""

  config: object

  def setup(self):
    c = self.config
    prior_scale = jnp.log(c.size_prior_mean / (1.0 - c.size_prior_mean))
    # The image is an input of the cell at every step, and the same: its product is made once.
    self.image_encoder = _ImageEncoder(
      c.patch_size, c.patch_features, c.patch_rounds, c.encoder_sizes
    )
    self.image_gates = _Dense(4 * c.cell_size, use_bias=False)
    if c.residual:
      self.attention = _Attention(
        c.patch_size, c.patch_features, c.attention_heads, reach=c.size_prior_mean
      )
    self.cell = _Lstm(c.cell_size)
    self.presence_head = _Mlp(c.presence_sizes, outputs=1, bias=c.presence_bias)
    self.location_head = _GaussianHead(
      c.location_sizes, 3, mean_bias=(prior_scale, 0.0, 0.0), std_bias=c.where_std_bias
    )
    self.glimpse_encoder = _GaussianHead(
      c.glimpse_encoder_sizes, c.code_size, mean_bias=c.code_size * (0.0,), std_bias=c.what_std_bias
    )
    self.glimpse_decoder = _Mlp(
      c.glimpse_decoder_sizes, outputs=c.glimpse_size**2 * c.channels, bias=c.output_bias
    )
    if c.background == 'constant':
      shape = (c.canvas_size, c.canvas_size, c.channels)
      self.background_image = self.param('background_image', _constant(c.output_bias), shape)
    elif c.background == 'latent':
      size = c.background_code_size
      self.background_encoder = _GaussianHead(
        c.background_sizes, size, mean_bias=size * (0.0,), std_bias=c.what_std_bias
      )
      self.background_decoder = _Mlp(
        c.background_sizes, outputs=c.background_grid**2 * c.channels, bias=c.output_bias
      )
    if c.learn_size_prior:
      self.size_change = self.param('size_change', nn.initializers.zeros, (2,))
    if c.baseline:
      self.baseline_net = _Mlp(c.baseline_sizes, outputs=c.max_steps)
      self.signal = _MovingAverages(c.centre, c.normalise)

  def initial_state(self):
    return self.cell.initial_state()

  def encode_image(self, image):
    return self.image_gates(self.image_encoder(image))

  def attend(self, residual):
    return self.attention(residual) if self.config.residual else jnp.zeros(0)

  def recur(self, state, image_gates, inputs):
    return self.cell(state, image_gates, inputs)

  def presence(self, h):
    return self.presence_head(h)[0]

  def location(self, h, attended):
    where = self.location_head(jnp.concatenate([h, attended]))
    if not self.config.residual:
      return where
    # The first place attended to is where the head begins; what z_where holds is its arctanh.
    start = jnp.arctanh(0.98 * attended[:2])
    return Normal(where.mean.at[1:].add(start), where.std)

  def encode_glimpse(self, crop):
    return self.glimpse_encoder(crop.ravel())

  def decode_glimpse(self, z_what):
    size = self.config.glimpse_size
    return nn.sigmoid(self.glimpse_decoder(z_what)).reshape(size, size, -1)

  def encode_background(self, image):
    if self.config.background != 'latent':
      return Normal(jnp.zeros(0), jnp.ones(0))
    return self.background_encoder(_resize(image, 2 * self.config.background_grid).ravel())

  def decode_background(self, z_background):
    """Smooth by construction where there is a code: no object can hide in it."""
    c = self.config
    if c.background == 'black':
      return jnp.zeros((c.canvas_size, c.canvas_size, c.channels))
    if c.background == 'constant':
      return nn.sigmoid(self.background_image)
    grid = self.background_decoder(z_background).reshape(c.background_grid, c.background_grid, -1)
    return nn.sigmoid(_resize(grid, c.canvas_size))

  def size_prior(self):
    return tuple(self.size_change) if self.config.learn_size_prior else (0.0, 0.0)

  def baseline(self, inputs):
    return self.baseline_net(inputs), *self.signal()

  def touch(self):
    """Runs every part once, so that `init` gives each its parameters."""
    c = self.config
    image = self.decode_background(
      self.encode_background(jnp.zeros((c.canvas_size, c.canvas_size, c.channels))).mean
    )
    attended = self.attend(image)
    inputs = jnp.concatenate([jnp.zeros(3 + c.code_size), attended])
    _, h = self.recur(self.initial_state(), self.encode_image(image), inputs)
    self.presence(h)
    self.location(h, attended)
    self.encode_glimpse(self.decode_glimpse(jnp.zeros(c.code_size)))
    if c.baseline:
      latents = c.max_steps * (1 + 3 + c.code_size) + c.background_code_size
      self.baseline(jnp.zeros(image.size + latents))


class _ImageEncoder(nn.Module):
  """An MLP on features of the image's patches, which the same layers describe everywhere.

  That they are shared is what an MLP on raw pixels lacks to tell two digits side by side from one.
  The first sees a patch alone; in each round, two more look at its neighbours, down and then across
  (a 3x3 convolution in two, as products of matrices: XLA's CPU is slow at those of a population).
  """

  patch_size: int  # pixels; 0: raw pixels
  patch_features: int
  rounds: int
  sizes: tuple

  @nn.compact
  def __call__(self, image):
    if self.patch_size:
      patches = _patches(image, self.patch_size)
      image = nn.elu(_Dense(self.patch_features, kernel_init=_sparse)(patches))
      for axis in self.rounds * (0, 1):
        image = nn.elu(_Dense(self.patch_features)(_neighbours(image, axis, 1)))
    return _Mlp(self.sizes)(image.ravel())


class _Attention(nn.Module):
  """Places that stand out in a picture, and what is there (spatial softmax: Levine et al., 2016).

  Each head spreads a softmax over the patches, by what they and their surroundings show and by a
  learned preference for places, which breaks the tie between objects that look alike. The mean of
  a softmax spread over two objects lies between them, where nothing is: a few steps of mean shift
  take it to one of the two (Cheng, "Mean shift, mode seeking, and clustering", 1995).
  """

  patch_size: int
  patch_features: int
  heads: int
  reach: float  # of the mean shift, in [-1, 1] across the picture

  @nn.compact
  def __call__(self, image):
    patches = _patches(image, self.patch_size)
    rows, columns, _ = patches.shape
    features = nn.elu(_Dense(self.patch_features, kernel_init=_sparse)(patches))
    features = nn.elu(_Dense(2 * self.patch_features)(_surroundings(features, 1)))
    # Seven patches across now, more than an object: the gap between two must not look like one.
    wider = _surroundings(nn.elu(_Dense(self.patch_features)(features)), 2)
    features = nn.elu(_Dense(2 * self.patch_features)(jnp.concatenate([wider, features], -1)))
    preference = self.param('preference', nn.initializers.normal(0.5), (rows, columns, self.heads))
    scores = _SHARPNESS * (_Dense(self.heads)(features) + preference).reshape(-1, self.heads).T
    y, x = jnp.meshgrid(
      *((2.0 * jnp.arange(n) + 1.0) / n - 1.0 for n in (rows, columns)), indexing='ij'
    )
    centres = jnp.stack([x.ravel(), y.ravel()], -1)
    weights = nn.softmax(scores)
    for _ in range(_SHIFTS):
      away = jnp.sum((centres - (weights @ centres)[:, None]) ** 2, -1)
      weights = nn.softmax(scores - 0.5 * away / self.reach**2)
    seen = features.reshape(-1, features.shape[-1])
    return jnp.concatenate([(weights @ centres).ravel(), (weights @ seen).ravel()])


class _Dense(nn.Module):
  """A dense layer whose kernel is [outputs, inputs]: as JAX computes its gradient.

  Kept the other way round, as Flax does, that gradient is read across the grain by the optimiser,
  which on a CPU then takes a quarter of a training step.
  """

  size: int
  use_bias: bool = True
  kernel_init: Callable = _scaled(1.0)
  bias_init: Callable = nn.initializers.zeros

  @nn.compact
  def __call__(self, x):
    kernel = self.param('kernel', self.kernel_init, (self.size, x.shape[-1]))
    y = jnp.einsum('...i,oi->...o', x, kernel)
    return y + self.param('bias', self.bias_init, (self.size,)) if self.use_bias else y


class _Mlp(nn.Module):
  """Dense layers with ELU between them, and behind the last unless it is an output layer."""

  sizes: tuple
  outputs: int = 0  # width of a linear output layer; 0: there is none
  bias: float | tuple = 0.0  # its initial bias

  @nn.compact
  def __call__(self, x):
    for size in self.sizes:
      x = nn.elu(_Dense(size)(x))
    if self.outputs:
      x = _Dense(self.outputs, kernel_init=_small, bias_init=_constant(self.bias))(x)
    return x


class _GaussianHead(nn.Module):
  """An MLP whose outputs are the mean and, through a softplus, the deviation of a Gaussian."""

  sizes: tuple
  size: int
  mean_bias: tuple
  std_bias: float

  @nn.compact
  def __call__(self, x):
    bias = (*self.mean_bias, *(self.size * (self.std_bias,)))
    mean, raw_std = jnp.split(_Mlp(self.sizes, 2 * self.size, bias)(x), 2)
    return Normal(mean, nn.softplus(raw_std))


class _Lstm(nn.Module):
  """A long short-term memory with trainable initial state, its four gates in one product."""

  size: int

  def setup(self):
    self.gates = _Dense(4 * self.size)
    self.initial_h = self.param('initial_h', nn.initializers.zeros, (self.size,))
    self.initial_c = self.param('initial_c', nn.initializers.zeros, (self.size,))

  def initial_state(self):
    return self.initial_h, self.initial_c

  def __call__(self, state, image_gates, inputs):
    h, c = state
    gates = image_gates + self.gates(jnp.concatenate([inputs, h]))
    write, forget, keep, value = jnp.split(gates, 4)
    c = nn.sigmoid(forget + 1.0) * c + nn.sigmoid(write) * nn.tanh(value)
    h = nn.sigmoid(keep) * nn.tanh(c)
    return (h, c), h


class _MovingAverages(nn.Module):
  """Of NVIL's signal, its mean and its variance; where none is kept, those that change nothing."""

  centre: bool
  variance: bool

  @nn.compact
  def __call__(self):
    def average(name, kept, start):
      return self.param(name, _constant(start), ()) if kept else jnp.asarray(start)

    return average('centre', self.centre, 0.0), average('variance', self.variance, 1.0)


def _patches(image, size):
  """[rows, columns, size * size * C] patches of [H, W, C], blank beyond the picture."""
  height, width, channels = image.shape
  image = jnp.pad(image, ((0, -height % size), (0, -width % size), (0, 0)))
  image = image.reshape(-(-height // size), size, -(-width // size), size, channels)
  return image.swapaxes(1, 2).reshape(*image.shape[:3:2], -1)


def _neighbours(features, axis, apart):
  """[rows, columns, 3 F]: at each place the features before, at and after it, so many apart."""
  length = features.shape[axis]
  padding = [(apart, apart) if i == axis else (0, 0) for i in range(3)]
  features = jnp.pad(features, padding)
  starts = range(0, 2 * apart + 1, apart)
  return jnp.concatenate(
    [jax.lax.slice_in_dim(features, i, i + length, axis=axis) for i in starts], -1
  )


def _surroundings(features, apart):
  """[rows, columns, 9 F]: at each place the features of three by three, so many places apart."""
  return _neighbours(_neighbours(features, 1, apart), 0, apart)


def _resize(image, size):
  return jax.image.resize(image, (size, size, image.shape[-1]), 'linear')


def _constant(values):
  return lambda key, shape, dtype=jnp.float32: jnp.broadcast_to(jnp.asarray(values, dtype), shape)
