"""Cubes, spheres and cylinders on a table, lit from one side: 0-3 on 64x64, which hide each other.

air-jax --config=table_primitives [--config.data.colour=True]
"""

from ml_collections import ConfigDict

from air_jax.configs import occluding_sprites


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = occluding_sprites.get_config()
  config.data.source = 'table_primitives'
  config.data.colour = False
  config.data.canvas_size = 64
  config.data.background = 'dim'  # the table
  config.data.min_scale, config.data.max_scale = 0.8, 1.2
  config.model.background = 'polynomial'
  config.model.size_prior_mean = 0.36
  config.model.size_prior_std = 0.25
  return config
