"""Squares, ellipses and hearts of many sizes at all angles: 0-2 on 50x50 pixels.

air-jax --config=multi_dsprites
"""

from ml_collections import ConfigDict

from air_jax.configs import multi_mnist, plain


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = plain.simplify(multi_mnist.get_config(), size=0.38)
  config.data.source = 'dsprites'
  config.data.min_scale, config.data.max_scale = 0.7, 1.3
  config.model.size_prior_std = 0.25
  config.train.steps = 5000
  return config
