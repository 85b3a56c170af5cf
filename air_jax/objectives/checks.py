"""Checks of what a loss is given. They read shapes alone, so they cost nothing under jit."""

import jax.numpy as jnp
from jaxtyping import Array

from air_jax.errors import UserError
from air_jax.types import ElboTerms

_ABSENT = {
  'baseline': 'give the predictions of a baseline network, or zeros to use none',
  'products': 'they exist for a Gaussian likelihood whose canvas is a sum of layers',
  'log_ratio': 'give log q(z) / p(z) at the sampled latents',
  'kl_z': 'give the KL divergence of the latents, or log_ratio in its place',
}


def one_rollout(loss: str, terms: ElboTerms) -> None:
  """Checks that terms are those of one roll-out, with fields [T + 1].

  Args:
    loss: name of the loss, for the message.
    terms: what it was given.

  Raises:
    UserError: a field has other axes, or is absent.
  """
  _check_shapes(loss, terms, 'kl_z', 1, 'the terms of one image, fields [T + 1]')


def several_rollouts(loss: str, terms: ElboTerms, fewest: int = 1) -> ElboTerms:
  """Checks that terms are those of several roll-outs of one image, with fields [K, T + 1].

  Args:
    loss: name of the loss, for the message.
    terms: what it was given.
    fewest: the least K that is allowed.

  Returns:
    The terms with the sampled log-ratio in place of the KL divergence: bounds of importance
    weights are made of those.

  Raises:
    UserError: a field has other axes, or is absent, or K is too small.
  """
  axes = 'the terms of K roll-outs of one image, fields [K, T + 1]'
  _check_shapes(loss, terms, 'log_ratio', 2, axes)
  if len(terms.nll) < fewest:
    raise UserError(f'{loss} needs K >= {fewest} roll-outs; nll has shape {terms.nll.shape}')
  return terms._replace(kl_z=require(loss, terms, 'log_ratio'))


def require(loss: str, terms: ElboTerms, field: str) -> Array:
  """A field of the terms that only some of them have.

  Raises:
    UserError: it is absent, or its shape does not go with that of the others.
  """
  value = getattr(terms, field)
  if value is None:
    raise UserError(f'{loss} reads terms.{field}, which is None; {_ABSENT[field]}')
  shape = jnp.shape(terms.nll)
  count = shape[-1]
  expected = {'baseline': (*shape[:-1], count - 1), 'products': (*shape, count)}.get(field, shape)
  if jnp.shape(value) != expected:
    raise UserError(
      f'{loss} needs {field} of shape {expected}, where nll has {shape}; it has {jnp.shape(value)}'
    )
  return value


def _check_shapes(loss: str, terms: ElboTerms, latents: str, rank: int, axes: str) -> None:
  shape = jnp.shape(terms.nll)
  if len(shape) != rank:
    advice = '; jax.vmap it over images' if len(shape) > rank else ''
    raise UserError(f'{loss} takes {axes}; nll has shape {shape}{advice}')
  for field in (latents, 'log_q', 'log_p'):
    require(loss, terms, field)
