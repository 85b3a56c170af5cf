"""Losses that train AIR: pure functions of arrays. They need JAX, and no other part of AIR.

from air_jax import objectives
loss = objectives.exact(terms, key)  # `terms` is an air_jax.types.ElboTerms of one image
"""

from air_jax.objectives import distributions
from air_jax.objectives.baseline import (
  LearningSignal,
  SignalAverages,
  init_averages,
  learning_signal,
)
from air_jax.objectives.count import collapsed, exact, nvil, reinforce
from air_jax.objectives.multi_sample import (
  collapsed_iwae,
  iwae,
  latent_weights,
  log_mean_exp,
  log_weights,
  rws,
  vimco,
  vimco_arithmetic,
)
from air_jax.objectives.per_step import concrete, disarm, mvd, nvil_to_go
from air_jax.objectives.registry import ESTIMATORS, Estimator, resolve
from air_jax.objectives.terms import costs, elbo, expected_cost, sampled_cost, smooth, summary

__all__ = [
  'ESTIMATORS',
  'Estimator',
  'LearningSignal',
  'SignalAverages',
  'collapsed',
  'collapsed_iwae',
  'concrete',
  'costs',
  'disarm',
  'distributions',
  'elbo',
  'exact',
  'expected_cost',
  'init_averages',
  'iwae',
  'latent_weights',
  'learning_signal',
  'log_mean_exp',
  'log_weights',
  'mvd',
  'nvil',
  'nvil_to_go',
  'reinforce',
  'resolve',
  'rws',
  'sampled_cost',
  'smooth',
  'summary',
  'vimco',
  'vimco_arithmetic',
]
