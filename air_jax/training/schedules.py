"""What changes in the course of training: optax schedules, functions of the step."""

from typing import NamedTuple

import jax.numpy as jnp
import optax


class Schedules(NamedTuple):
  """One schedule each, step -> scalar."""

  learning_rate: optax.Schedule  # of Adam
  smoothing: optax.Schedule  # share of the uniform count in its posterior, see objectives.py
  kl_weight: optax.Schedule  # weight of the KL of where and what
  success: optax.Schedule  # success probability of the count's geometric prior
  temperature: optax.Schedule  # of relaxed presences


def build(objective, train):
  """Makes the schedules of a run.

  Args:
    objective: `air_jax.config.ObjectiveConfig`.
    train: `air_jax.config.TrainConfig`.

  Returns:
    `Schedules`.
  """
  return Schedules(
    learning_rate=optax.cosine_decay_schedule(
      train.learning_rate, train.steps, train.final_learning_rate
    ),
    smoothing=optax.join_schedules(
      [
        optax.constant_schedule(objective.smoothing),
        linear(objective.smoothing, 0.0, objective.smoothing_steps),
      ],
      [objective.smoothing_hold],
    ),
    kl_weight=linear(objective.kl_warmup, 1.0, objective.kl_warmup_steps),
    success=exponential(objective.prior_start, objective.prior_end, objective.prior_steps),
    temperature=exponential(
      objective.temperature, objective.final_temperature, objective.temperature_steps
    ),
  )


def linear(start, end, steps):
  """From start to end in equal steps, constant thereafter; steps = 0 is the end at once."""
  if not steps:
    return optax.constant_schedule(end)
  ramp = optax.linear_schedule(start, end, steps)
  # Compiled, the ramp overshoots by a rounding error; a smoothing below 0 has no logarithm.
  return lambda step: jnp.clip(ramp(step), min(start, end), max(start, end))


def exponential(start, end, steps):
  """From start to end in equal ratios, constant thereafter; steps = 0 is the end at once."""
  if not steps or start == end:
    return optax.constant_schedule(end)
  return optax.exponential_decay(start, steps, end / start, end_value=end)
