"""Multi-MNIST with the most accurate settings we know, for twice the steps.

New scenes in every step, patches that read their neighbours, objects that cost 2.3 nats instead of
11.5, and counts that are checked against the decoded objects. --config.data.layout=touching for the
other layout.

air-jax --config=multi_mnist_best
"""

from ml_collections import ConfigDict

from air_jax.configs import multi_mnist, plain


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = plain.simplify(multi_mnist.get_config())
  config.data.online = True
  config.model.patch_rounds = 2
  config.model.count_by = 'explanation'
  config.objective.name = 'collapsed'
  config.objective.prior_end = 0.1
  config.train.steps = 20_000
  return config
