"""Handwritten characters of many alphabets: 0-2 on 50x50 pixels, held out by alphabet.

air-jax --config=multi_omniglot
"""

from ml_collections import ConfigDict

from air_jax.configs import multi_mnist, plain


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = plain.simplify(multi_mnist.get_config())
  config.data.source = 'omniglot'
  config.train.steps = 5000
  return config
