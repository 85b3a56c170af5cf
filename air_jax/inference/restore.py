"""Trained models from the folders of their runs."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jaxtyping import UInt8

from air_jax.config import adaptation, schema
from air_jax.config.members import member_config
from air_jax.config.sections import Config, DataConfig
from air_jax.errors import UserError
from air_jax.inference import references
from air_jax.inference.predictor import Model
from air_jax.model import air
from air_jax.runtime import memory
from air_jax.storage import checkpoints, run_dir


class Run(NamedTuple):
  """A run at its newest sound checkpoint; a run that is no population has one member."""

  config: Config
  folder: pathlib.Path
  step: int
  params: dict[str, Any]  # the averaged parameters, with a leading [N]
  diverged: dict[int, dict[str, Any]]  # members that had diverged
  own_data: DataConfig  # of the run, without changes
  changed: bool  # whether the configuration is not that of the run

  def model(self, index: int) -> Model:
    """The model of one member, with the reference that its folder keeps, if there is one."""
    config = member_config(self.config, index)
    params = jax.tree.map(lambda x: jnp.asarray(x[index]), self.params)
    known = None if self.changed else references.read(self.member_dir(index), self.step)
    return Model(config, air.build(config.model), params, self.step, known)

  def member_dir(self, index: int) -> pathlib.Path:
    """The folder of one member."""
    return run_dir.member_dirs(self.folder, self.config.train.population)[index]

  def chosen(self, index: int | None) -> int:
    """The member asked for; None is the one with the highest held-out bound.

    Raises:
      UserError: there is no such member.
    """
    size = self.config.train.population
    if index is None:
      known = run_dir.read_evaluation(self.folder) if size > 1 else None
      best = known.get('best') if known else 0
      if type(best) is not int or not 0 <= best < size or best in self.diverged:
        raise UserError(
          f'evaluation.json in {self.folder} is damaged: it names none of the members as the best; '
          'evaluate the run anew, or choose a member'
        )
      return best
    if not 0 <= index < size:
      raise UserError(f'member={index} is not allowed; {self.folder} has members 0..{size - 1}')
    return index


def restore(workdir: str | os.PathLike, changes: Mapping[str, Any] | None = None) -> Run:
  """Restores a run for use.

  Args:
    workdir: folder of the run.
    changes: values by dotted key that differ from the run's configuration, see `adaptation.adapt`.

  Raises:
    UserError: there is no run, no checkpoint that can be read, or a change is not allowed.
  """
  config = own = schema.parse(run_dir.load_config(workdir))
  folder = pathlib.Path(os.path.expanduser(workdir))
  size = config.train.population
  params = jax.eval_shape(air.init, air.build(config.model), jax.random.key(0))
  target = {'step': jax.ShapeDtypeStruct((), jnp.int32), 'average': params}
  target = jax.tree.map(lambda x: jax.ShapeDtypeStruct((size, *x.shape), x.dtype), target)
  step, state = checkpoints.restore_run(folder, target)
  if changes:
    config = adaptation.adapt(config, changes)
    spec = config.model
    memory.check(
      f'an image of data.canvas_size={spec.canvas_size}, model.max_steps={spec.max_steps}',
      4 * spec.max_steps * spec.canvas_size**2 * spec.channels,
      memory.of_machine(),
      'smaller ones need less',
    )
  diverged = run_dir.diverged(folder, step, size)
  return Run(config, folder, step, state['average'], diverged, own.data, bool(changes))


def load(
  workdir: str | os.PathLike,
  member: int | None = None,
  changes: Mapping[str, Any] | None = None,
) -> Model:
  """Loads the model of a run.

  Args:
    workdir: folder of the run, or one that `Model.save` wrote.
    member: which of a population; None is the one with the highest held-out bound.
    changes: values by dotted key that differ from the run's configuration, such as
      `{'model.max_steps': 24, 'data.canvas_size': 200}`; see `adaptation.adapt`.

  Raises:
    UserError: there is no run, no such member, no checkpoint that can be read, or a change is not
      allowed.
  """
  run = restore(workdir, changes)
  return run.model(run.chosen(member))


def load_with_reference(
  workdir: str | os.PathLike,
  member: int | None = None,
  changes: Mapping[str, Any] | None = None,
) -> Model:
  """Loads the model of a run, which compares what it parses with held-out images.

  Where the run's folder does not say what these are like, or a change makes that worthless, it is
  measured; the folder then keeps it, if it may be written to. Without held-out images the model
  compares nothing, which is logged.

  Args:
    workdir: as of `load`.
    member: as of `load`.
    changes: as of `load`.

  Raises:
    UserError: as `load`.
  """
  run = restore(workdir, changes)
  index = run.chosen(member)
  model = run.model(index)
  if model.reference is not None:
    return model
  data = run.own_data
  if model.config.data.canvas_size != data.canvas_size:
    data = model.config.data
  try:
    images = references.images(data)
  except UserError as error:
    logging.warning('pictures are not compared with held-out ones, which cannot be had: %s', error)
    return model
  if run.changed:
    return model.with_reference(images, references.FEW)
  model = model.with_reference(images)
  references.write(run.member_dir(index), model)
  return model


def keep_references(workdir: str | os.PathLike, images: UInt8[np.ndarray, 'B H W C']) -> None:
  """Measures what held-out images are like for each model of a run, and keeps that in its folder.

  Nothing is done where several processes trained it.
  """
  if jax.process_count() > 1:
    return
  run = restore(workdir)
  for index in range(run.config.train.population):
    if index not in run.diverged:
      model = run.model(index).with_reference(images)
      references.write(run.member_dir(index), model)
