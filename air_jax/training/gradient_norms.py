"""Norms of the gradient by part of the model."""

import jax
import numpy as np
import optax
from jaxtyping import UInt8

from air_jax.training import gradient_variance, train_step
from air_jax.training.train_step import Learner, TrainState


def by_part(
  learner: Learner, state: TrainState, images: UInt8[np.ndarray, 'B H W C']
) -> dict[str, float]:
  """The norm of the first batch's gradient, in nats, by part of the model."""
  batch, key = images[: learner.update.batch_size], jax.random.key(learner.seed)
  grads, _ = jax.jit(train_step.gradient)(
    learner, state.params, state.step, batch, key, state.estimator
  )
  return {
    part: float(optax.tree.norm([grads[role] for role in roles if role in grads]))
    for part, roles in gradient_variance.PARTS.items()
  }
