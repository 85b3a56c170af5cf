"""Touching multi-MNIST: 0-2 digits of varying size on 50x50 pixels that may touch.

air-jax --config=multi_mnist_touching
"""

from ml_collections import ConfigDict

from air_jax.configs import multi_mnist


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = multi_mnist.get_config()
  config.data.layout = 'touching'
  return config
