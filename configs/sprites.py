"""Coloured circles, squares and triangles, as in the AIR article: 0-2 of 16 pixels on 50x50.

python main.py --config=configs/sprites.py --workdir=runs/sprites
"""

from air_jax.configs import default, plain


def get_config():
  """Returns the configuration."""
  config = plain.simplify(default.get_config(), size=0.33)
  config.data.source = 'sprites'
  config.data.colour = True
  config.model.residual = True  # without, some seeds first look where nothing is, and count it
  config.train.clip_norm = 2000.0  # a few times the usual; attention has rare, ruinous gradients
  config.train.steps = 5000
  config.train.eval_every = 1000
  config.train.checkpoint_every = 1000
  return config
