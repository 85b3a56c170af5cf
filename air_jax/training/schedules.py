"""What changes in the course of training: optax schedules, functions of the training step."""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from air_jax.config.sections import ObjectiveConfig, UpdateConfig


class Schedules(NamedTuple):
  """One schedule each, training step -> scalar."""

  learning_rate: optax.Schedule  # factor of the initial one
  smoothing: optax.Schedule  # weight of the uniform count in its posterior, see objectives
  kl_weight: optax.Schedule  # of the KL of z_where (except sizes) and z_what
  success: optax.Schedule  # success probability of the count's geometric prior
  temperature: optax.Schedule  # of relaxed presences


def build(objective: ObjectiveConfig, update: UpdateConfig) -> Schedules:
  """Builds the schedules of a run."""
  return Schedules(
    learning_rate=optax.cosine_decay_schedule(1.0, update.steps, update.final_learning_rate),
    smoothing=optax.join_schedules(
      [
        optax.constant_schedule(objective.smoothing),
        linear(objective.smoothing, objective.final_smoothing, objective.smoothing_steps),
      ],
      [objective.smoothing_hold],
    ),
    kl_weight=linear(objective.kl_warmup, 1.0, objective.kl_warmup_steps),
    success=exponential(objective.prior_start, objective.prior_end, objective.prior_steps),
    temperature=exponential(
      objective.temperature, objective.final_temperature, objective.temperature_steps
    ),
  )


def linear(start: float, end: float, steps: int) -> optax.Schedule:
  """From start to end in equal steps, constant thereafter; with steps = 0 always the end."""
  if not steps:
    return optax.constant_schedule(end)
  ramp = optax.linear_schedule(start, end, steps)
  # Compiled, the ramp overshoots by a rounding error; a smoothing below 0 has no logarithm.
  return lambda step: jnp.clip(ramp(step), min(start, end), max(start, end))


def exponential(start: float, end: float, steps: int) -> optax.Schedule:
  """From start to end in equal ratios, constant thereafter; with steps = 0 always the end."""
  if not steps or start == end:
    return optax.constant_schedule(end)
  return optax.exponential_decay(start, steps, end / start, end_value=end)
