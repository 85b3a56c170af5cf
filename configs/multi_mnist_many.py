"""Many digits: 0-6 of native size on 80x80 pixels, boxes do not overlap.

air-jax --config=multi_mnist_many
"""

from ml_collections import ConfigDict

from air_jax.configs import multi_mnist, plain


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = plain.simplify(multi_mnist.get_config(), size=0.26)
  config.data.canvas_size = 80
  config.data.max_objects = 6
  config.model.max_steps = 6
  config.model.residual = True
  config.objective.smoothing_steps = 3000
  config.train.clip_norm = 4000.0  # about the usual; attention has rare, very large gradients
  config.train.steps = 4000
  return config
