"""The article's cell: an LSTM reads the encoded image, and remembers what it has found."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from air_jax.config.sections import ModelSpec
from air_jax.model import encoders, layers
from air_jax.model.parts import Cell, Found, Params, Part, Run, Seen, part
from air_jax.types import Normal


def feature_size(spec: ModelSpec) -> int:
  """L, the size of the features that the presence head reads."""
  return spec.cell_size


def parts(spec: ModelSpec, replaced: Mapping[str, Part]) -> dict[str, Part]:
  """Its networks by role; those of `replaced` take the place of the standard ones."""
  canvas = spec.canvas_size, spec.canvas_size, spec.channels
  attended = spec.attention_heads * (2 + 2 * spec.patch_features) if spec.residual else 0
  standard = encoders.ImageEncoder(
    spec.patch_size, spec.patch_features, spec.patch_rounds, spec.encoder_sizes
  )
  encoder = replaced.get('image_encoder') or part(standard, canvas)
  features = jax.eval_shape(
    lambda key: encoder.apply(encoder.init(key), jnp.zeros(canvas)), jax.random.key(0)
  )
  inputs = 3 + spec.code_size + attended
  made = {
    'image_encoder': encoder,
    'cell': part(layers.Lstm(spec.cell_size), features.shape, (inputs,), init_method='init_all'),
    'location_head': part(
      layers.GaussianHead(spec.location_sizes, 3), (spec.cell_size + attended,)
    ),
  }
  if spec.residual:
    attention = encoders.Attention(spec.patch_size, spec.patch_features, spec.attention_heads)
    made['attention'] = part(attention, canvas, ())
  return made


def cell(spec: ModelSpec, run: Run) -> Cell:
  """Builds the cell; `run` applies its networks."""

  def encode(params, image):
    return run('cell', params, run('image_encoder', params, image), method='project')

  def find(params, state, seen: Seen):
    if not spec.residual:
      state, h = run('cell', params, state, seen.encoded, seen.z)
      return state, Found(h, run('location_head', params, h))
    attended = run('attention', params, seen.left, seen.first_size)
    state, h = run('cell', params, state, seen.encoded, jnp.concatenate([seen.z, attended]))
    where = run('location_head', params, jnp.concatenate([h, attended]))
    # The head starts at the first place attended to, whose raw value is its arctanh.
    start = jnp.arctanh(0.98 * attended[:2])
    return state, Found(h, Normal(where.mean.at[1:].add(start), where.std))

  def initial_state(params: Params):
    return run('cell', params, method='initial_state')

  return Cell(initial_state, encode, find)
