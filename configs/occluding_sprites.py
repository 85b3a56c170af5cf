"""Coloured circles, squares and triangles that hide each other: 0-3 on 50x50 pixels.

air-jax --config=occluding_sprites
"""

from ml_collections import ConfigDict

from air_jax.configs import generalisation


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = generalisation.get_config()
  config.data.source = 'sprites'
  config.data.layout = 'occluding'
  config.data.colour = True
  config.data.max_objects = 3
  config.model.compositing = 'over'
  config.model.size_prior_mean = 0.33
  # Less than in `generalisation`, where one window learns to explain two objects that overlap.
  config.objective.final_smoothing = 0.1
  config.train.steps = 3000
  return config
