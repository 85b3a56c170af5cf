"""Your own images: the pictures in a folder, grey or (data.colour) RGB.

air-jax --config=folder --config.data.dir=FOLDER
"""

from ml_collections import ConfigDict

from air_jax.configs import default, plain


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = plain.simplify(default.get_config())
  config.data.source = 'folder'
  config.data.stretch = True
  config.model.background = 'latent'
  config.train.steps = 10_000
  return config
