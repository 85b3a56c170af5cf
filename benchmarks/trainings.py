"""A training to be timed."""

import jax

from air_jax.config import schema as config_lib
from air_jax.data import loading
from air_jax.training import population


def make(config, steps):
  """Prepares a training.

  Args:
    config: ConfigDict with the keys of configs/default.py.
    steps: a call makes.

  Returns:
    a function that makes so many steps of every member, and returns when they are made.
  """
  config = config_lib.parse(config)
  members = population.make(config)
  source = population.share(members, loading.batch_source(config.data, config.train.batch_size))
  states = population.init(members)

  def train():
    nonlocal states
    states, _ = population.advance(members, source, states, 0, steps)
    jax.block_until_ready(states)

  return train
