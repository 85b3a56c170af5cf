"""Runs as they were trained, with the states of their optimisers."""

import os
import pathlib

from air_jax.config import schema
from air_jax.storage import checkpoints, run_dir
from air_jax.training import population
from air_jax.training.population import Population
from air_jax.training.train_step import TrainState


def restore(workdir: str | os.PathLike) -> tuple[Population, TrainState, pathlib.Path]:
  """Restores a run with all its members, at its newest sound checkpoint.

  Returns:
    (population, states of NumPy arrays with a leading [N], the run's folder).

  Raises:
    UserError: there is no run, or no checkpoint that can be read.
  """
  config = schema.parse(run_dir.load_config(workdir))
  folder, members = pathlib.Path(os.path.expanduser(workdir)), population.build(config)
  _, states = checkpoints.restore_run(folder, population.shapes(members))
  return members, states, folder
