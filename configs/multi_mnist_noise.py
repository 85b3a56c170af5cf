"""Touching multi-MNIST with strong noise on each pixel, as in SuPAIR's first noisy set.

air-jax --config=multi_mnist_noise
"""

from ml_collections import ConfigDict

from air_jax.configs import multi_mnist_touching


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = multi_mnist_touching.get_config()
  config.data.background = 'dim'
  config.data.noise = 0.225  # a quarter of the contrast of digit and background
  config.model.background = 'constant'
  config.model.learn_likelihood_std = True
  return config
