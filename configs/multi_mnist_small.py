"""Disjoint multi-MNIST at half size: digits of 10 pixels on 50x50.

python main.py --config=configs/multi_mnist_small.py --workdir=runs/multi_mnist_small
"""

from configs import multi_mnist


def get_config():
  """Returns the configuration."""
  config = multi_mnist.get_config()
  config.data.min_scale = config.data.max_scale = 0.5
  config.model.size_prior_mean = 0.23
  config.model.glimpse_size = 14
  config.model.likelihood_std = 0.2  # at 0.3 a digit is worth too little to be looked for
  config.objective.kl_warmup = 0.02
  config.objective.kl_warmup_steps = 1000
  return config
