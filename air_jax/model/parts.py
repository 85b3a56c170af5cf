"""A part of the model: one network as two pure functions, whatever library made it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from air_jax.types import Normal

Params = dict[str, Any]  # of the parts, by role
Run = Callable[..., Any]  # role, params, *inputs -> outputs of that part


class Part(NamedTuple):
  """One network: its initial parameters, and what it computes with them."""

  init: Callable[[PRNGKeyArray], Any]
  apply: Callable[..., Any]  # params, *inputs -> outputs


def part(module: nn.Module, *shapes: tuple[int, ...], init_method: Any = None) -> Part:
  """Makes a part of a Flax module.

  Args:
    module: a linen module that takes as many arrays.
    shapes: of its inputs.
    init_method: the method that uses all its parameters; None is `__call__`.
  """

  def init(key):
    inputs = [jnp.zeros(shape) for shape in shapes]
    return module.init(key, *inputs, method=init_method)['params']

  def apply(params, *inputs, method=None):
    return module.apply({'params': params}, *inputs, method=method)

  return Part(init, apply)


class Seen(NamedTuple):
  """What a cell may look at in one inference step."""

  image: Float[Array, 'H W C']  # minus its background
  encoded: Any  # `Cell.encode` of it
  left: Float[Array, 'H W C']  # minus the objects painted so far; no gradient passes these
  z: Float[Array, ' 3+D']  # z_where and z_what of the last object, zeros at first
  refused: Bool[Array, '']  # whether the last step turned out to have found no object
  # Side of a window as a fraction of the reference canvas, by the prior; no gradient passes either
  first_size: Float[Array, '']  # as configured
  size: Float[Array, '']  # as learned


class Found(NamedTuple):
  """What a cell finds in one inference step."""

  h: Float[Array, ' L']  # features, from which the presence head tells whether there is an object
  where: Normal  # [3] q(z_where)
  mask: Float[Array, 'H W 1'] | None = None  # in [0, 1], what may belong to it; None: everything


class Cell(NamedTuple):
  """Finds one object in each inference step."""

  initial_state: Callable[[Params], Any]
  encode: Callable[[Params, Array], Any]  # image [H, W, C] -> what all steps share
  find: Callable[[Params, Any, Seen], tuple[Any, Found]]  # -> the next state, what it found
