"""Disjoint multi-MNIST over noisy textures, with a learned background.

air-jax --config=noisy_background
"""

from ml_collections import ConfigDict

from air_jax.configs import multi_mnist, plain


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = plain.simplify(multi_mnist.get_config())
  config.data.background = 'texture'
  config.data.noise = 0.05
  config.model.background = 'latent'
  return config
