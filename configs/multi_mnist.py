"""Disjoint multi-MNIST: 0-2 digits of native size on 50x50 pixels, boxes do not overlap.

air-jax --config=multi_mnist
"""

from ml_collections import ConfigDict

from air_jax.configs import default


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = default.get_config()
  config.data.source = 'mnist'
  config.train.steps = 10_000
  config.train.eval_every = 1000
  config.train.checkpoint_every = 1000
  return config
