"""Multi-MNIST with a cell that finds more digits than it was trained on, also on larger canvases.

air-jax --config=generalisation
air-jax --mode=evaluate --workdir=runs/generalisation --config.data.counts='(4,)' \
  --config.model.max_steps=6
"""

from ml_collections import ConfigDict

from air_jax.configs import multi_mnist


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = multi_mnist.get_config()
  config.model.cell = 'voting'
  # Larger networks for patches than the default: places are what fails in crowded scenes.
  config.model.patch_features = 32
  config.model.patch_rounds = 3
  # Each object goes on explaining as much as it can by itself; otherwise two share a digit.
  config.objective.final_smoothing = config.objective.smoothing
  config.train.steps = 6000
  return config
