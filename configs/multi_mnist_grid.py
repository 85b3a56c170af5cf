"""Touching multi-MNIST over a grid of bright lines, as in SuPAIR's second noisy set.

air-jax --config=multi_mnist_grid
"""

from ml_collections import ConfigDict

from air_jax.configs import multi_mnist_noise


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = multi_mnist_noise.get_config()
  config.data.background = 'grid'
  config.data.noise = 0.0
  # The code says where the lines are; a background that cannot paint them leaves them to objects.
  config.model.background = 'latent'
  config.model.background_grid = config.data.canvas_size
  config.model.background_code_size = 16
  config.model.background_sizes = (256,)
  return config
