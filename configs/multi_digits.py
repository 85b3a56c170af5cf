"""0-2 handwritten digits on 50x50, from the 1,797 that scikit-learn ships: no network, the default.

python main.py
"""

from air_jax.configs import default


def get_config():
  """Returns the configuration."""
  return default.get_config()
