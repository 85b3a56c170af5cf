"""The networks inside AIR, as plain functions of (params, inputs). Everything is for one image.

`build` makes them from parts, one for each role (the image encoder, the location head, ...). A part
is a pair of functions, so that the roll-out in air.py can be read, tested and scanned without a
neural-network library, and any part can be replaced:

    from air_jax.model import networks

    def build(spec):  # in my_module.py; then model.networks='my_module:build'
      encoder = networks.part(MyEncoder(), (spec.glimpse_size**2 * spec.channels,))
      return networks.build(spec, glimpse_encoder=encoder)
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from air_jax import import_path
from air_jax.config.sections import ModelSpec
from air_jax.errors import UserError
from air_jax.model import backgrounds, layers, lstm_cell, rendering, voting_cell
from air_jax.model.parts import Cell, Params, Part, part
from air_jax.types import ModelNumbers, Normal, Pose

# By `model.cell`: modules with `parts`, `feature_size` and `cell`.
CELLS = {'lstm': lstm_cell, 'voting': voting_cell}


class Networks(NamedTuple):
  """AIR's networks as pure functions. L features of what the cell found."""

  init: Callable[[PRNGKeyArray, ModelNumbers], Params]
  cell: Cell  # finds the objects
  presence: Callable[[Params, Array], Array]  # h [L] -> [] log-odds that one more object is there
  encode_glimpse: Callable[[Params, Array], Normal]  # crop [h, w, C] -> [D] q(z_what)
  decode_glimpse: Callable[[Params, Array], Array]  # z_what [D] -> glimpse [h, w, A] in (0, 1)
  encode_background: Callable[[Params, Array], Normal]  # image [H, W, C] -> [E] q(z_background)
  decode_background: Callable[[Params, Array], Array]  # z_background [E] -> [H, W, C] in [0, 1)
  size_prior: Callable[[Params], tuple[Array, Array]]  # learned change of it, see `air.priors`
  # How many times as large as configured the likelihood's deviation is; learned
  likelihood_std_factor: Callable[[Params], Array]
  baseline: Callable[[Params, Array], Array]  # inputs [J] -> [T] nats
  # z_where [3], z_what [D] -> layer [H, W, A]; None: the glimpse, painted at its window
  render: Callable[[Array, Array], Array] | None = None
  # z_where [3], z_what [D] -> the solid that they describe; None: objects are no solids
  pose: Callable[[Array, Array], Pose] | None = None


def build(spec: ModelSpec, **replaced: Part) -> Networks:
  """Makes the networks of an architecture.

  Args:
    spec: the architecture.
    replaced: parts to use in place of the standard ones, by role: `presence_head`,
      `glimpse_encoder`, `glimpse_decoder`, `background_encoder`, `background_decoder`, `baseline`
      and those of the cell, `patches`, `look_0`, `look_1`, ... or `image_encoder`, `cell`,
      `attention`, `location_head`. Each has the inputs and outputs of the standard one. Where a
      part has a layer `output`, that starts at the configured bias.

  Raises:
    UserError: a role is unknown.
  """
  parts = _standard_parts(spec, replaced)
  if unknown := replaced.keys() - parts.keys():
    raise UserError(f'no part {min(unknown)!r} of this model; it has {", ".join(parts)}')
  parts |= replaced
  canvas = spec.canvas_size, spec.canvas_size, spec.channels
  glimpse = spec.glimpse_size, spec.glimpse_size, spec.glimpse_channels

  def run(role, params, *inputs, **options):
    return parts[role].apply(params[role], *inputs, **options)

  def init(key, numbers):
    keys = jax.random.split(key, len(parts))
    params = {role: each.init(key) for (role, each), key in zip(parts.items(), keys, strict=True)}
    for role, bias in _initial_biases(spec, numbers).items():
      if 'output' in params.get(role, ()):
        output = params[role]['output']
        output['bias'] = jnp.broadcast_to(bias, output['bias'].shape)
    if spec.background == 'constant':
      params['background_image'] = jnp.broadcast_to(jnp.float32(numbers.output_bias), canvas)
    if spec.background == 'polynomial':
      params['background'] = backgrounds.init(spec)
    if spec.learn_size_prior:
      params['size_prior'] = {'mean_shift': jnp.zeros(()), 'log_std_factor': jnp.zeros(())}
    if spec.learn_likelihood_std:
      params['likelihood'] = {'log_std_factor': jnp.zeros(())}
    return params

  def decode_glimpse(params, z_what):
    decoded = nn.sigmoid(run('glimpse_decoder', params, z_what)).reshape(glimpse)
    if spec.compositing == 'add':
      return decoded
    colours, mask = rendering.split(decoded)
    return jnp.concatenate([colours * mask, decoded[..., -1:]], -1)

  def encode_background(params, image):
    if not spec.background_code_size:
      return Normal(jnp.zeros(0), jnp.ones(0))
    if spec.background == 'polynomial':
      return backgrounds.encode(params['background'], image, spec)
    small = backgrounds.resize(image, 2 * spec.background_grid)
    return run('background_encoder', params, small.ravel())

  def decode_background(params, z_background):
    if spec.background == 'black':
      return jnp.zeros(canvas)
    if spec.background == 'constant':
      return nn.sigmoid(params['background_image'])
    if spec.background == 'polynomial':
      return backgrounds.decode(params['background'], z_background, spec)
    levels = run('background_decoder', params, z_background)
    levels = levels.reshape(spec.background_grid, spec.background_grid, spec.channels)
    return nn.sigmoid(backgrounds.resize(levels, spec.canvas_size))

  def size_prior(params):
    if not spec.learn_size_prior:
      return jnp.zeros(()), jnp.zeros(())
    return params['size_prior']['mean_shift'], params['size_prior']['log_std_factor']

  def likelihood_std_factor(params):
    if not spec.learn_likelihood_std:
      return jnp.ones(())
    return jnp.exp(params['likelihood']['log_std_factor'])

  return Networks(
    init=init,
    cell=CELLS[spec.cell].cell(spec, run),
    presence=lambda params, h: run('presence_head', params, h)[0],
    encode_glimpse=lambda params, crop: run('glimpse_encoder', params, crop.ravel()),
    decode_glimpse=decode_glimpse,
    encode_background=encode_background,
    decode_background=decode_background,
    size_prior=size_prior,
    likelihood_std_factor=likelihood_std_factor,
    baseline=lambda params, inputs: run('baseline', params, inputs),
  )


@functools.cache
def resolve(spec: ModelSpec) -> Networks:
  """The networks that `model.networks` names, or the standard ones; made once for equal `spec`s.

  Raises:
    UserError: the import path cannot be used.
  """
  if not spec.networks:
    return build(spec)
  made = import_path.load(spec.networks, 'model.networks')(spec)
  if not isinstance(made, Networks):
    raise UserError(
      f'model.networks={spec.networks!r} must return air_jax.model.networks.Networks, and returned '
      f'{type(made).__name__}'
    )
  return made


def _standard_parts(spec: ModelSpec, replaced: Mapping[str, Part]) -> dict[str, Part]:
  """The standard parts by role; only those that this architecture uses."""
  glimpse, z = spec.glimpse_size**2 * spec.channels, 3 + spec.code_size
  cell = CELLS[spec.cell]
  parts = {
    **cell.parts(spec, replaced),
    'presence_head': part(layers.Head(spec.presence_sizes, 1), (cell.feature_size(spec),)),
    'glimpse_encoder': part(
      layers.GaussianHead(spec.glimpse_encoder_sizes, spec.code_size), (glimpse,)
    ),
    'glimpse_decoder': part(
      layers.Head(spec.glimpse_decoder_sizes, spec.glimpse_size**2 * spec.glimpse_channels),
      (spec.code_size,),
    ),
  }
  if spec.background == 'latent':
    sizes, code = spec.background_sizes, spec.background_code_size
    levels = spec.background_grid**2 * spec.channels
    parts['background_encoder'] = part(layers.GaussianHead(sizes, code), (4 * levels,))
    parts['background_decoder'] = part(layers.Head(sizes, levels), (code,))
  if spec.baseline:
    inputs = spec.canvas_size**2 * spec.channels
    inputs += spec.max_steps * (1 + z) + spec.background_code_size
    parts['baseline'] = part(layers.Head(spec.baseline_sizes, spec.max_steps), (inputs,))
  return parts


def _initial_biases(spec: ModelSpec, numbers: ModelNumbers) -> dict[str, Float[Array, '...']]:
  """Where output layers start, by role."""
  raw_size = jnp.log(numbers.size_prior_mean / (1.0 - numbers.size_prior_mean))

  def gaussian(size):
    return jnp.concatenate([jnp.zeros(size), jnp.full(size, numbers.what_std_bias)])

  where = jnp.stack([raw_size, 0.0, 0.0, *(3 * [numbers.where_std_bias])])
  return {
    'presence_head': jnp.asarray(numbers.presence_bias),
    'location_head': where,
    **{f'look_{i}': where for i in range(spec.looks)},
    'glimpse_encoder': gaussian(spec.code_size),
    'glimpse_decoder': _glimpse_bias(spec, numbers),
    'background_encoder': gaussian(spec.background_code_size),
    'background_decoder': jnp.asarray(numbers.output_bias),
  }


def _glimpse_bias(spec: ModelSpec, numbers: ModelNumbers) -> Float[Array, '...']:
  """Where glimpses start: nearly black, or nearly transparent and of any colour."""
  if spec.compositing == 'add':
    return jnp.asarray(numbers.output_bias)
  colour_and_mask = jnp.stack([*(spec.channels * [0.0]), numbers.output_bias])
  return jnp.tile(colour_and_mask, spec.glimpse_size**2)
