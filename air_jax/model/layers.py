"""Layers that AIR's networks are made of. Everything is for one image.

Parameters are named by role: `hidden_0`, `hidden_1`, ... and `output`.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from air_jax.types import Normal


def scaled(variance: float) -> Callable:
  """Initialiser of a kernel [outputs, inputs] that multiplies the variance by this factor."""
  return nn.initializers.variance_scaling(variance, 'fan_in', 'truncated_normal', -1, -2)


class Dense(nn.Module):
  """A dense layer whose kernel is stored transposed, [outputs, inputs].

  JAX computes the gradient in that layout. With Flax's [inputs, outputs] the optimiser reads it
  with a stride, which takes a quarter of a training step on a CPU (benchmarks/throughput.py).
  """

  size: int
  use_bias: bool = True
  kernel_init: Callable = scaled(1.0)

  @nn.compact
  def __call__(self, x: Float[Array, '... inputs']) -> Float[Array, '... outputs']:
    kernel = self.param('kernel', self.kernel_init, (self.size, x.shape[-1]))
    y = jnp.einsum('...i,oi->...o', x, kernel)
    return y + self.param('bias', nn.initializers.zeros, (self.size,)) if self.use_bias else y


class Mlp(nn.Module):
  """Dense layers, each followed by an ELU."""

  sizes: tuple[int, ...]

  @nn.compact
  def __call__(self, x: Float[Array, ' inputs']) -> Float[Array, ' features']:
    for i, size in enumerate(self.sizes):
      x = nn.elu(Dense(size, name=f'hidden_{i}')(x))
    return x


class Head(nn.Module):
  """Hidden layers and a linear output layer, which starts near its bias.

  Its kernel has a tenth of the usual variance. Its bias starts at 0; `networks.build` sets it.
  """

  sizes: tuple[int, ...]
  outputs: int

  @nn.compact
  def __call__(self, x: Float[Array, ' inputs']) -> Float[Array, ' outputs']:
    return _hidden_and_output(self.sizes, self.outputs, x)


class GaussianHead(nn.Module):
  """A head whose outputs are the mean and, through a softplus, the deviation of a Gaussian."""

  sizes: tuple[int, ...]
  size: int  # of the Gaussian

  @nn.compact
  def __call__(self, x: Float[Array, ' inputs']) -> Normal:
    mean, raw_std = jnp.split(_hidden_and_output(self.sizes, 2 * self.size, x), 2)
    return Normal(mean, nn.softplus(raw_std))


LstmState = tuple[Float[Array, ' L'], Float[Array, ' L']]  # h, c


class Lstm(nn.Module):
  """Long short-term memory (Hochreiter & Schmidhuber, 1997) with a trainable initial state.

  The image is the same input at every inference step: its product is computed once, by `project`.
  """

  size: int

  def setup(self) -> None:
    self.image_gates = Dense(4 * self.size, use_bias=False)
    self.gates = Dense(4 * self.size)
    self.initial_h = self.param('initial_h', nn.initializers.zeros, (self.size,))
    self.initial_c = self.param('initial_c', nn.initializers.zeros, (self.size,))

  def initial_state(self) -> LstmState:
    return self.initial_h, self.initial_c

  def project(self, features: Float[Array, ' F']) -> Float[Array, ' 4L']:
    return self.image_gates(features)

  def __call__(
    self, state: LstmState, image_gates: Float[Array, ' 4L'], inputs: Float[Array, ' I']
  ) -> tuple[LstmState, Float[Array, ' L']]:
    h, c = state
    i, f, o, g = jnp.split(image_gates + self.gates(jnp.concatenate([inputs, h])), 4)
    c = nn.sigmoid(f + 1.0) * c + nn.sigmoid(i) * nn.tanh(g)
    h = nn.sigmoid(o) * nn.tanh(c)
    return (h, c), h

  def init_all(
    self, features: Float[Array, ' F'], inputs: Float[Array, ' I']
  ) -> tuple[LstmState, Float[Array, ' L']]:
    """Runs both products once, so that `init` gives them parameters."""
    return self(self.initial_state(), self.project(features), inputs)


def _hidden_and_output(sizes, outputs, x):
  """The layers of a head, made within the module that calls it."""
  for i, size in enumerate(sizes):
    x = nn.elu(Dense(size, name=f'hidden_{i}')(x))
  return Dense(outputs, kernel_init=scaled(0.1), name='output')(x)
