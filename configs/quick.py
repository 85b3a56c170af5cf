"""The default job, made to end early: 0-2 handwritten digits on 50x50 pixels.

It ends at a plateau of the evaluations, which are frequent and on fewer held-out scenes, and is
drawn at the end alone. `make train` runs it. No download.

air-jax --config=quick
"""

from ml_collections import ConfigDict

from air_jax.configs import multi_digits


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = multi_digits.get_config()
  config.data.test_scenes = 2000
  config.train.eval_every = 100
  config.train.stop_when = 1
  config.train.draw_every = 0
  return config
