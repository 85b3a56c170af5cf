"""The model as one object: its architecture, its parts, its numbers, and its priors."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from air_jax.config.schema import base
from air_jax.config.sections import ModelConfig, ModelSpec
from air_jax.model import likelihoods, networks, rendering, spatial_transformer
from air_jax.model.likelihoods import Likelihood
from air_jax.model.networks import Networks, Params
from air_jax.model.rendering import Compositing
from air_jax.types import ModelNumbers, Normal

_LEAST_STD = 0.02  # of a pixel, where it is learned: five of 255 levels


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Model:
  """What the functions below need to know beside the parameters.

  A pytree whose leaves are `numbers`; all else is static, so that models which differ in numbers
  alone share compiled programs.
  """

  spec: ModelSpec = dataclasses.field(metadata={'static': True})
  networks: Networks = dataclasses.field(metadata={'static': True})
  likelihood: Likelihood = dataclasses.field(metadata={'static': True})
  compositing: Compositing = dataclasses.field(metadata={'static': True})
  numbers: ModelNumbers


def build(config: ModelConfig) -> Model:
  """Builds the model of a configuration.

  Raises:
    UserError: `model.networks` or `model.likelihood` is an import path that cannot be used.
  """
  spec = base(ModelSpec, config)
  return Model(
    spec,
    networks.resolve(spec),
    likelihoods.resolve(config.likelihood),
    rendering.COMPOSITINGS[spec.compositing],
    # Of the type that members of a population have: results are then equal to the last bit.
    ModelNumbers._make(np.float32(getattr(config, name)) for name in ModelNumbers._fields),
  )


def init(model: Model, key: PRNGKeyArray) -> Params:
  """Initial parameters. The key is consumed."""
  return model.networks.init(key, model.numbers)


def priors(model: Model, params: Params) -> tuple[Normal, Normal]:
  """p(z_where), over raw (scale, x, y), and p(z_what), with fields [3] and [].

  The prior of z_background is that of z_what. Where the prior of the scale is learned, it starts
  at the configured one and maximises the bound like every parameter (empirical Bayes).
  """
  ratio = model.spec.reference_size / model.spec.canvas_size
  size = spatial_transformer.rescale(_size_prior(model, params), ratio)
  shift = model.spec.shift_prior_std
  where = Normal(jnp.stack([size.mean, 0.0, 0.0]), jnp.stack([size.std, shift, shift]))
  return where, Normal(jnp.zeros(()), jnp.ones(()))


def numbers(model: Model, params: Params) -> ModelNumbers:
  """The numbers of the model, where the likelihood's deviation is learned with what it is now."""
  if not model.spec.learn_likelihood_std:
    return model.numbers
  std = model.numbers.likelihood_std * model.networks.likelihood_std_factor(params)
  return model.numbers._replace(likelihood_std=jnp.maximum(std, _LEAST_STD))


def reference_size(model: Model, params: Params) -> Float[Array, '']:
  """The side of a typical object's window, as a fraction of the canvas in training."""
  return jax.nn.sigmoid(_size_prior(model, params).mean)


def window_size(model: Model, params: Params) -> Float[Array, '']:
  """The side of a typical object's window, as a fraction of the canvas: the middle of the prior."""
  return jax.nn.sigmoid(priors(model, params)[0].mean[0])


def _size_prior(model: Model, params: Params) -> Normal:
  """The prior of the log-odds of a window's side as a fraction of the canvas in training."""
  numbers = model.numbers
  mean_shift, log_std_factor = model.networks.size_prior(params)
  odds = numbers.size_prior_mean / (1.0 - numbers.size_prior_mean)
  return Normal(jnp.log(odds) + mean_shift, numbers.size_prior_std * jnp.exp(log_std_factor))
