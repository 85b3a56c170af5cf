"""Disjoint multi-MNIST with the article's own estimator of the count's gradient, without its bias.

Each presence answers for what follows it alone: answering for the whole cost (`nvil`), some
seeds stay at counting nothing or always three.

python main.py --config=configs/multi_mnist_nvil.py --workdir=runs/multi_mnist_nvil
"""

from air_jax.configs import multi_mnist, plain


def get_config():
  """Returns the configuration."""
  config = plain.simplify(multi_mnist.get_config())
  config.objective.name = 'nvil_to_go'
  # A saturated presence head gives the score function nothing to learn from: it rests until the
  # cell can paint.
  config.objective.smoothing = 1.0
  config.objective.smoothing_hold = 500
  config.objective.smoothing_steps = 1000
  return config
