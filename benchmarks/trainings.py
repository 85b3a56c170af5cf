"""Trainings that are to be timed."""

from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from air_jax.config import schema
from air_jax.config.sections import Config
from air_jax.data import loading
from air_jax.data.batches import BatchSource
from air_jax.training import population, train_step
from air_jax.training.population import Population
from air_jax.training.train_step import TrainState


def prepare(config: Config) -> tuple[Population, BatchSource, TrainState]:
  """The members of a training, the source of their batches and their initial states."""
  members = population.build(config)
  source = loading.batch_source(config.data, config.train.batch_size)
  return members, population.replicate(members, source), population.init(members)


def advance(
  members: Population, source: BatchSource, states: TrainState, start: int, steps: int
) -> TrainState:
  """Makes training steps of every member, and returns the states when they are computed."""
  states, _ = population.advance(train_step.train_step, members, source, states, start, steps)
  return jax.block_until_ready(states)


def build(config: ConfigDict, steps: int) -> Callable[[], None]:
  """A function that makes so many training steps of every member, and returns when they are made.

  Args:
    config: with the keys of configs/default.py.
    steps: of each call.
  """
  members, source, states = prepare(schema.parse(config))

  def train() -> None:
    nonlocal states
    states = advance(members, source, states, 0, steps)

  return train
