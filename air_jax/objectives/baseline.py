"""NVIL's learning signal: the cost less a learned baseline (Mnih & Gregor, arXiv:1402.0030).

The score function is weighted by the cost F of what was sampled. A baseline b that predicts F
without that sample lowers the variance of the gradient and leaves its mean. NVIL then centres and
scales what is left by moving averages (section 2.3). These are state of the estimator: a loss takes
them and returns new ones, of its image; the trainer averages those over a batch.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_DECAY = 0.8  # of the moving averages (Mnih & Gregor, 2014)


class SignalAverages(NamedTuple):
  """Moving averages of the residual F - b; None where one is not kept."""

  mean: Float[Array, ''] | None = None  # c, nats
  variance: Float[Array, ''] | None = None  # v, nats^2, of the residual about c


NO_AVERAGES = SignalAverages()  # the residual is used as it is


class LearningSignal(NamedTuple):
  """What a sampled cost gives for the model, the baseline and the moving averages."""

  signal: Float[Array, '']  # weight of the score function; passes no gradient
  baseline_loss: Float[Array, '']  # nats^2; its gradient trains the baseline network
  averages: SignalAverages  # moved towards this observation


def init_averages(options: Any) -> SignalAverages:
  """The averages before training; `options` says by `centre` and `normalise` which are kept."""
  return SignalAverages(
    jnp.zeros(()) if options.centre else None, jnp.ones(()) if options.normalise else None
  )


def learning_signal(
  cost: Float[Array, ''], baseline: Float[Array, ''], averages: SignalAverages
) -> LearningSignal:
  """The part of a cost that was not predicted.

      signal = (F - b - c) / max(1, sqrt v),      baseline_loss = (F - b - c)^2
      c <- 0.8 c + 0.2 (F - b),                   v <- 0.8 v + 0.2 (F - b - c)^2

  Args:
    cost: F, nats; it gets no gradient.
    baseline: b, nats; its inputs must pass no gradient to the model.
    averages: c and v before this observation.

  Returns:
    The signal, the loss of the baseline, and the averages after this observation.
  """
  running_mean, variance = jax.lax.stop_gradient(averages)
  residual = jax.lax.stop_gradient(cost) - baseline
  centred = residual if running_mean is None else residual - running_mean
  scale = 1.0 if variance is None else jnp.maximum(1.0, jnp.sqrt(variance))
  return LearningSignal(
    signal=jax.lax.stop_gradient(centred / scale),
    baseline_loss=centred**2,
    averages=SignalAverages(_moved(running_mean, residual), _moved(variance, centred**2)),
  )


def _moved(average: Float[Array, ''] | None, value: Float[Array, '']) -> Float[Array, ''] | None:
  if average is None:
    return None
  return _DECAY * average + (1.0 - _DECAY) * jax.lax.stop_gradient(value)
