"""Disjoint multi-MNIST of mixed sizes: digits of 8 to 26 pixels on 50x50 pixels.

air-jax --config=multi_mnist_sizes
"""

from ml_collections import ConfigDict

from air_jax.configs import multi_mnist


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = multi_mnist.get_config()
  config.data.min_scale, config.data.max_scale = 0.4, 1.3
  config.train.steps = 20_000
  return config
