"""Your own images: the pictures in a folder, grey or (data.colour) RGB.

Of large pictures, say how many pixels an object has; small ones with few objects each are fitted
to the canvas without that.

air-jax --config=folder --config.data.dir=FOLDER --config.data.object_pixels=24
air-jax --config=folder --config.data.dir=FOLDER
"""

from ml_collections import ConfigDict

from air_jax.configs import generalisation


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = generalisation.get_config()
  config.data.source = 'folder'
  config.data.stretch = True
  config.data.gamma = 0.5
  config.model.max_steps = 6
  # Objects may be darker than their ground, which may be lit unevenly.
  config.model.compositing = 'over'
  config.model.background = 'polynomial'
  config.model.background_degree = 1
  # So low that dim objects pay for themselves, at a price of 37 nats, for which none is split.
  config.model.likelihood_std = 0.1
  config.model.learn_likelihood_std = True
  config.objective.prior_end = 1e-16
  config.model.count_by = 'explanation'
  # Less than in `generalisation`, where one window learns to explain two objects that touch.
  config.objective.final_smoothing = 0.1
  config.train.batch_size = 32
  config.train.steps = 1500
  return config
