"""Disjoint multi-MNIST at half size: digits of 10 pixels on 50x50 pixels.

air-jax --config=multi_mnist_small
"""

from ml_collections import ConfigDict

from air_jax.configs import multi_mnist


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = multi_mnist.get_config()
  config.data.min_scale = config.data.max_scale = 0.5
  return config
