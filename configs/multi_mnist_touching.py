"""Touching multi-MNIST: 0-2 digits of varying size on 50x50 whose ink may touch.

python main.py --config=configs/multi_mnist_touching.py --workdir=runs/multi_mnist_touching
"""

from air_jax.configs import multi_mnist


def get_config():
  """Returns the configuration."""
  config = multi_mnist.get_config()
  config.data.layout = 'touching'
  return config
