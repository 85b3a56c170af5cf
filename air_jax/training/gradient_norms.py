"""Norms of the gradient by part of the model."""

import jax
import jax.numpy as jnp

from air_jax.training import gradient_variance, train_step


def by_part(learner, state, images) -> dict[str, float]:
  """The norm of one batch's gradient, in nats, by part of the model.

  Args:
    learner: `Learner`.
    state: `TrainState`.
    images: [B, H, W, C] uint8; the first batch of them is used.
  """
  batch = images[: learner.config.train.batch_size]
  key = jax.random.key(learner.config.seed)
  gradient = jax.jit(train_step.gradient, static_argnums=0)
  grads, _ = gradient(learner, state.params, state.step, batch, key)
  norms = {}
  for part, names in gradient_variance.PARTS.items():
    leaves = jax.tree.leaves([grads[name] for name in names if name in grads])
    norms[part] = float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in leaves)))
  return norms
