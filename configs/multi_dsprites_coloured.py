"""Squares, ellipses and hearts of any colour that hide each other, on grey: 2-5 on 64x64.

By the rules of the published Multi-dSprites "coloured on greyscale". For "coloured on coloured" add
--config.data.background=colour --config.data.min_objects=1 --config.data.max_objects=4.

air-jax --config=multi_dsprites_coloured
"""

from ml_collections import ConfigDict

from air_jax.configs import occluding_sprites


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = occluding_sprites.get_config()
  config.data.source = 'dsprites'
  config.data.canvas_size = 64
  config.data.palette = 'uniform'
  config.data.background = 'level'
  config.data.min_objects, config.data.max_objects = 2, 5
  config.data.min_scale, config.data.max_scale = 0.7, 1.3
  config.model.max_steps = 6
  config.model.background = 'polynomial'
  config.model.size_prior_std = 0.25
  return config
