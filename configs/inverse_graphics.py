"""Kinds, places and rotations of solids on a table, found by a model that renders them.

air-jax --config=inverse_graphics
"""

from ml_collections import ConfigDict

from air_jax.configs import table_primitives


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = table_primitives.get_config()
  config.model.networks = 'air_jax.model.solids:build'
  config.model.compositing = 'depth'
  config.model.code_size = 5
  config.train.steps = 2000
  return config
