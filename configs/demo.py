"""What --mode=demo draws with where there is no run: 0-4 things of many sizes, thin and thick.

The digits of scikit-learn drawn anew with pens of several widths, at 0.4 to 1.4 of 20 pixels; half
of them turned or mirrored, for people draw more than digits. No download.

air-jax --config=demo
"""

from ml_collections import ConfigDict

from air_jax.configs import generalisation


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = generalisation.get_config()
  config.data.source = 'pen_digits'
  config.data.min_scale, config.data.max_scale = 0.4, 1.4
  config.data.max_objects = 4
  config.data.train_scenes, config.data.test_scenes = 20_000, 1000
  config.model.max_steps = 5
  # The smaller networks for patches, which learn more in a few minutes.
  config.model.patch_features, config.model.patch_rounds = 16, 2
  config.model.count_by = 'explanation'
  config.train.batch_size = 32
  config.train.learning_rate = 1e-3
  config.train.steps = 2000
  return config
