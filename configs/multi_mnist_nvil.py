"""Disjoint multi-MNIST with the estimator of the AIR paper, NVIL, for later costs only.

The learning signal of each presence is the cost that follows it. With the whole cost (`nvil`) some
seeds keep counting no objects or always three.

air-jax --config=multi_mnist_nvil
"""

from ml_collections import ConfigDict

from air_jax.configs import multi_mnist, plain


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = plain.simplify(multi_mnist.get_config())
  config.objective.name = 'nvil_to_go'
  # A saturated presence head gives the score function nothing to learn from: it gets no gradient
  # until the decoder has learned to draw.
  config.objective.smoothing = 1.0
  config.objective.smoothing_hold = 500
  config.objective.smoothing_steps = 1000
  return config
