"""The plain settings: the full ELBO from the start, the paper's deviation, fixed sizes.

Some configurations were measured with it, and keep it through `simplify` until the default settings
of configs/default.py are measured on them.

air-jax --config=plain
"""

from ml_collections import ConfigDict

from air_jax.configs import default


def get_config() -> ConfigDict:
  """Returns the plain settings on the default scenes."""
  return simplify(default.get_config())


def simplify(config: ConfigDict, size: float = 0.42) -> ConfigDict:
  """Changes a configuration, and returns it.

  Args:
    config: ConfigDict with the keys of configs/default.py.
    size: of the window of an object, as a fraction of the canvas.

  Returns:
    the same ConfigDict.
  """
  config.model.patch_rounds = 0
  config.model.likelihood_std = 0.3
  config.model.size_prior_mean, config.model.size_prior_std = size, 0.12
  config.model.learn_size_prior = False
  config.objective.name = 'exact'
  config.objective.kl_warmup = 1.0
  config.objective.kl_warmup_steps = 0
  return config
