"""Takes seconds instead of minutes; useful only to test the machinery.

air-jax --config=tiny
"""

from ml_collections import ConfigDict

from air_jax.configs import default


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = default.get_config()
  config.data.train_scenes = 256
  config.data.test_scenes = 64
  config.model.glimpse_size = 8
  config.model.code_size = 4
  config.model.cell_size = 16
  for part in ('encoder', 'presence', 'location', 'glimpse_encoder', 'glimpse_decoder', 'baseline'):
    config.model[f'{part}_sizes'] = (16,)
  config.train.steps = 20
  config.train.batch_size = 8
  config.train.log_every = 5
  config.train.eval_every = config.train.draw_every = 10
  config.train.checkpoint_every = 5
  return config
