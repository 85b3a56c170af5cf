"""Coloured circles, squares and triangles, as in the AIR paper: 0-2 on 50x50 pixels.

air-jax --config=sprites
"""

from ml_collections import ConfigDict

from air_jax.configs import default, plain


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = plain.simplify(default.get_config(), size=0.33)
  config.data.source = 'sprites'
  config.data.colour = True
  config.model.residual = True  # without it some seeds first attend to empty places and count them
  config.train.clip_norm = 2000.0  # a few times the usual; attention has rare, very large gradients
  config.train.steps = 5000
  config.train.eval_every = 1000
  config.train.checkpoint_every = 1000
  return config
