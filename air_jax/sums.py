"""Sums of arrays in a way that is fast on CPUs."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def total(values: Float[Array, '...']) -> Float[Array, '']:
  """The sum of all values, as their inner product with ones.

  XLA's CPU takes 10 to 100 times as long by `jnp.sum` where the values are computed in the same
  fusion: it adds them one by one, while the inner product is a library's.
  """
  flat = values.ravel()
  return jnp.dot(flat, jnp.ones_like(flat), precision='highest')
