"""Three shapes of four squares in six colours, side by side on 35x35 pixels.

By the rules of the published Tetrominoes. Nothing is hidden, so colours may add up; objects with
masks (model.compositing='over') count fewer scenes right, see docs/segmentation.md.

air-jax --config=tetrominoes
"""

from ml_collections import ConfigDict

from air_jax.configs import generalisation


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = generalisation.get_config()
  config.data.source = 'tetrominoes'
  config.data.layout = 'adjacent'
  config.data.colour = True
  config.data.canvas_size = 35
  config.data.min_objects = config.data.max_objects = 3
  config.model.max_steps = 4
  config.model.size_prior_mean = 0.55  # up to 20 of 35 pixels
  config.model.size_prior_std = 0.25
  return config
