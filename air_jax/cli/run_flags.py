"""The run that the flags name: its configuration, model and processes."""

from __future__ import annotations

import contextlib
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from absl.flags import FlagValues

from air_jax.cli import command_line
from air_jax.config import adaptation, flat
from air_jax.errors import UserError

if TYPE_CHECKING:  # they take seconds to import
  from air_jax.config.sections import Config
  from air_jax.inference.predictor import Model
  from air_jax.training.train_step import Learner, TrainState


def refuse_config(flags: FlagValues) -> None:
  """Refuses a configuration other than that of the run."""
  if command_line.touches_config(sys.argv):
    raise UserError(f'--mode={flags.mode} takes the configuration kept in --workdir; drop --config')


def changes(flags: FlagValues) -> dict[str, Any]:
  """Keys of the run's configuration that the command line changes, with their values."""
  if command_line.chooses_config(sys.argv):
    raise UserError(
      f'--mode={flags.mode} takes the configuration kept in --workdir; drop --config, of '
      'which only keys such as --config.data.counts can be changed'
    )
  keys, values = command_line.overridden_keys(sys.argv), flat.flatten(flags.config)
  adaptation.check_keys(keys)
  return {key: values[key] for key in keys}


def is_untrained(flags: FlagValues) -> bool:
  """Whether --config is given and there is no run; both at once are refused."""
  from air_jax.storage import run_dir

  if not command_line.touches_config(sys.argv):
    return False
  if run_dir.exists(flags.workdir):
    refuse_config(flags)
  return True


def trained(flags: FlagValues) -> tuple[Config, Learner, TrainState, pathlib.Path]:
  """A member's configuration, learner and training state, and its folder."""
  from air_jax.inference import restore as inference_restore
  from air_jax.training import population, restore

  run = inference_restore.restore(flags.workdir)
  index = run.chosen(flags.member)
  members, states, _ = restore.restore(flags.workdir)
  own = population.member(members.learner, index), population.member(states, index)
  return run.model(index).config, *own, run.member_dir(index)


def model(
  flags: FlagValues, changes: dict[str, Any] | None = None, compares: bool = False
) -> Model:
  """The trained model of the run, or of a member.

  Args:
    flags: of the program.
    changes: to its configuration.
    compares: whether it compares what it parses with held-out images.
  """
  from air_jax.inference import restore
  from air_jax.runtime import compilation_cache

  compilation_cache.enable()
  load = restore.load_with_reference if compares else restore.load
  return load(flags.workdir, flags.member, changes)


def processes(flags: FlagValues) -> contextlib.AbstractContextManager[None]:
  """Joins the other processes, if there are any."""
  count, index = flags.processes, flags.process
  if flags.coordinator is None:
    if (count, index) != (None, None):
      raise UserError('--processes and --process go with --coordinator=HOST:PORT')
    if not flags.distributed:
      return contextlib.nullcontext()
  elif count is None or index is None or not index < count:
    raise UserError(
      f'--coordinator={flags.coordinator} goes with --processes=N and --process=I, I in 0..N - 1; '
      f'given were {count} and {index}'
    )
  from air_jax.runtime import distributed

  if flags.coordinator is not None:
    distributed.check_address(flags.coordinator)
  return distributed.initialize(flags.coordinator, count, index)
