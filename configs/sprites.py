"""Coloured circles, squares and triangles, as in the AIR article: 0-2 of 16 pixels on 50x50.

python main.py --config=configs/sprites.py --workdir=runs/sprites
"""

from configs import default


def get_config():
  """Returns the configuration."""
  config = default.get_config()
  config.data.source = 'sprites'
  config.data.colour = True
  config.model.size_prior_mean = 0.33  # at 0.36 one seed of two split lone shapes in two
  config.train.steps = 10_000
  config.train.eval_every = 1000
  config.train.checkpoint_every = 1000
  return config
