"""The default: 0-2 handwritten digits on 50x50 pixels, from scikit-learn, without a download.

air-jax
"""

from ml_collections import ConfigDict

from air_jax.configs import default


def get_config() -> ConfigDict:
  """Returns the configuration."""
  return default.get_config()
