"""Readers of scenes of two digits: networks that answer a question about both of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from air_jax.types import Normal

# Number of classes: the sum of both digits, and whether they ascend from left to right (1) or not.
TASKS = {'sum': 19, 'ascending': 2}
_BATCH = 64
_EVALUATIONS = 10  # on the validation scenes, during a training
_SHIFT = 3  # pixels


class Pairs(NamedTuple):
  """Scenes of two digits, as readers see them; objects are from left to right."""

  images: Any  # [B, H, W, C] uint8
  codes: Normal  # [B, 2, 3 + D], of where and what
  digits: Int[np.ndarray, 'B 2']


class Codes(nn.Module):
  """Log-probabilities of the answer from both objects together."""

  task: str
  dropout: float

  @nn.compact
  def __call__(self, codes: Float[Array, 'B 2 F'], training: bool) -> Float[Array, 'B K']:
    """Drops units out while training."""
    hidden = _hidden(codes.reshape(len(codes), -1), self.dropout, training)
    return nn.log_softmax(nn.Dense(TASKS[self.task])(hidden))


class DigitByDigit(nn.Module):
  """Log-probabilities of the answer from those of each digit."""

  task: str
  dropout: float

  @nn.compact
  def __call__(self, codes: Float[Array, 'B 2 F'], training: bool) -> Float[Array, 'B K']:
    """Drops units out while training."""
    hidden = _hidden(codes[..., 3:], self.dropout, training)
    probs = nn.softmax(nn.Dense(10)(hidden))
    pairs = np.stack(np.indices((10, 10)), -1)
    answers = jax.nn.one_hot(answer(pairs, self.task), TASKS[self.task])
    return jnp.log(jnp.einsum('bi,bj,ijk->bk', probs[:, 0], probs[:, 1], answers) + 1e-9)


class Pixels(nn.Module):
  """Log-probabilities of the answer from the image."""

  task: str
  dropout: float

  @nn.compact
  def __call__(self, images: Float[Array, 'B H W C'], training: bool) -> Float[Array, 'B K']:
    """Drops units out while training."""
    x = images
    for features, side in ((16, 5), (32, 3), (64, 3)):
      x = nn.relu(nn.Conv(features, (side, side), (2, 2))(x))
    hidden = _hidden(x.reshape(len(x), -1), self.dropout, training)
    return nn.log_softmax(nn.Dense(TASKS[self.task])(hidden))


NETWORKS = {'codes': Codes, 'digit_by_digit': DigitByDigit, 'pixels': Pixels}


def _hidden(x: Array, dropout: float, training: bool) -> Array:
  """Dense layers, made within the module that calls it."""
  for _ in range(2):
    x = nn.Dropout(dropout, deterministic=not training)(nn.relu(nn.Dense(256)(x)))
  return x


def answer(digits: Any, task: str) -> Any:
  """The right answers: of digits [*B, 2], integers [*B] in 0 .. classes of the task - 1."""
  left, right = digits[..., 0], digits[..., 1]
  return left + right if task == 'sum' else (left < right).astype(digits.dtype)


def take(pairs: Pairs, chosen: np.ndarray) -> Pairs:
  """The scenes with these numbers."""
  return jax.tree.map(lambda x: x[chosen], pairs)


class Fit(NamedTuple):
  """A reader that has learned."""

  score: tuple[float, float]  # accuracy and mean log-probability on its validation scenes
  evaluate: Callable[[Pairs], tuple[float, float]]  # the same of any scenes


def fit(network: Any, rate: float, steps: int, own: Pairs, validation: Pairs, seed: int) -> Fit:
  """Trains a reader, and keeps the parameters that do best on the validation scenes.

  Args:
    network: a module of a class of `NETWORKS`.
    rate: initial learning rate, which decays to 0.
    steps: number of updates.
    own: scenes to learn from.
    validation: others.
    seed: decides initial parameters and batches.
  """
  optimizer = optax.adamw(optax.cosine_decay_schedule(rate, steps), weight_decay=1e-3)

  @jax.jit
  def predict(params, inputs):
    return network.apply({'params': params}, inputs, False)

  @jax.jit
  def update(params, state, batch, key):
    input_key, dropout_key = jax.random.split(key)
    inputs = _changed(network, batch, input_key)

    def loss(params):
      log_probs = network.apply({'params': params}, inputs, True, rngs={'dropout': dropout_key})
      return -_of_answers(log_probs, batch.digits, network).mean()

    updates, state = optimizer.update(jax.grad(loss)(params), state, params)
    return optax.apply_updates(params, updates), state

  def evaluate(params, pairs):
    inputs = pairs.images / 255.0 if isinstance(network, Pixels) else pairs.codes.mean
    log_probs = np.concatenate(
      [predict(params, inputs[i : i + 500]) for i in range(0, len(inputs), 500)]
    )
    right = log_probs.argmax(-1) == answer(pairs.digits, network.task)
    return float(right.mean()), float(_of_answers(log_probs, pairs.digits, network).mean())

  init_key, train_key = jax.random.split(jax.random.key(seed))
  first = _changed(network, take(own, np.arange(1)), init_key)
  params = network.init(init_key, first, False)['params']
  state, rng = optimizer.init(params), np.random.default_rng(seed)
  best = (-1.0, -np.inf), params
  for step in range(1, steps + 1):
    batch = take(own, rng.integers(len(own.digits), size=_BATCH))
    params, state = update(params, state, batch, jax.random.fold_in(train_key, step))
    if step % (steps // _EVALUATIONS) == 0:
      best = max(best, (evaluate(params, validation), params), key=lambda found: found[0])
  score, params = best
  return Fit(score, lambda pairs: evaluate(params, pairs))


def _changed(network: nn.Module, pairs: Pairs, key: Array) -> Array:
  """Inputs to learn from: shifted images, or samples of the posterior of the codes."""
  if not isinstance(network, Pixels):
    return pairs.codes.mean + pairs.codes.std * jax.random.normal(key, pairs.codes.mean.shape)
  around = (_SHIFT, _SHIFT)
  padded = jnp.pad(pairs.images / 255.0, ((0, 0), around, around, (0, 0)))
  starts = jax.random.randint(key, (len(padded), 2), 0, 2 * _SHIFT + 1)
  size = pairs.images.shape[1:]
  return jax.vmap(lambda image, s: jax.lax.dynamic_slice(image, (*s, 0), size))(padded, starts)


def _of_answers(log_probs: Any, digits: Any, network: Any) -> Array:
  """[B] log-probabilities of the right answers."""
  return jnp.take_along_axis(log_probs, answer(digits, network.task)[:, None], 1)
