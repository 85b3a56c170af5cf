"""Losses that train AIR: pure functions that import JAX alone."""

from air_jax.objectives.count import (
  collapsed,
  costs,
  elbo,
  exact,
  expected_cost,
  nvil,
  reinforce,
  sampled_cost,
  score_signal,
  smooth,
)
from air_jax.objectives.multi_sample import (
  collapsed_iwae,
  iwae,
  log_mean_exp,
  log_weights,
  rws,
  vimco,
  vimco_arithmetic,
)
from air_jax.objectives.per_step import concrete, disarm, mvd, nvil_to_go

__all__ = [
  'collapsed',
  'collapsed_iwae',
  'concrete',
  'costs',
  'disarm',
  'elbo',
  'exact',
  'expected_cost',
  'iwae',
  'log_mean_exp',
  'log_weights',
  'mvd',
  'nvil',
  'nvil_to_go',
  'reinforce',
  'rws',
  'sampled_cost',
  'score_signal',
  'smooth',
  'vimco',
  'vimco_arithmetic',
]
