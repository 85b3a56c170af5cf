"""Writing checkpoints: Orbax with a digest, since Orbax does not notice a flipped byte."""

import functools
import json
import math
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint.checkpoint_managers import preservation_policy as policies

from air_jax.config.sections import TrainConfig
from air_jax.errors import UserError
from air_jax.runtime import distributed
from air_jax.storage import checkpoint_formats as formats
from air_jax.storage import checkpoint_reader

_ABOUT = '_CHECKPOINT_METADATA'  # orbax's name of that file


class Checkpoints:
  """The checkpoints of one run, newest last. Use as a context manager.

  Of several processes each writes what its devices hold, and each reads everything by itself, so
  that any other number of them can go on from there.
  """

  def __init__(self, folder: str | os.PathLike, keep: int, every: int = 0, best: int = 0):
    """Opens the folder, which is made if there is none.

    Args:
      folder: path.
      keep: how many of the newest to keep.
      every: steps whose multiples are kept as well; 0 for none.
      best: how many to keep as well of those saved with the highest bound.
    """
    self._folder = pathlib.Path(folder).absolute()
    kept = [policies.LatestN(keep)]
    if every:
      kept.append(policies.EveryNSteps(every))
    if best:
      kept.append(policies.BestN(get_metric_fn=_bound, n=best))
    options = ocp.CheckpointManagerOptions(
      preservation_policy=policies.AnyPreservationPolicy(kept),
      best_fn=_bound if best else None,  # or else no bound is kept
      enable_async_checkpointing=False,
    )
    if distributed.is_primary():
      for step, remove in damaged_bounds(self._folder).items():  # orbax would not open the folder
        remove()
        logging.warning('the bound of checkpoint %d is damaged, and no longer counts', step)
      self._drop_damaged_dates()
    distributed.barrier('before checkpoints are opened')
    self._manager = ocp.CheckpointManager(self._folder, options=options)

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *exception: object) -> None:
    self._manager.close()

  def save(self, step: int, state: Any, bound: float = -math.inf) -> None:
    """Writes a pytree of arrays, all or nothing; returns when it is on disk.

    Args:
      step: its training step.
      state: the pytree.
      bound: its held-out ELBO in nats, by which the best are chosen; -inf where it is unknown.

    Raises:
      UserError: it cannot be written; earlier ones are still there.
    """
    arrays = formats.to_arrays(state)
    about = {'sha256': checkpoint_reader.digest(arrays), 'version': formats.VERSION}
    contents = ocp.args.Composite(
      state=ocp.args.StandardSave(formats.nest(arrays)), digest=ocp.args.JsonSave(about)
    )
    try:
      self._manager.save(step, args=contents, metrics={'elbo': float(bound)}, force=True)
    except Exception as error:  # whatever a full disk made orbax's libraries raise
      if distributed.is_connection_loss(error):
        raise
      reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
      raise UserError(
        f'cannot write the checkpoint of step {step} to {self._folder}: {reason}; make room, and '
        'the same command goes on from the one before'
      ) from error

  def restore(self, target: Any) -> tuple[int, Any] | None:
    """Restores the newest checkpoint that is sound; damaged ones are set aside and named.

    Args:
      target: pytree of arrays, or of `jax.ShapeDtypeStruct`s, as it was saved or a part of that;
        checkpoints of earlier versions are converted.

    Returns:
      (step, state of NumPy arrays), or None where nothing was ever saved.

    Raises:
      UserError: there are checkpoints, and all are damaged or of another model; or one may not be
        read.
    """
    found = checkpoint_reader.restore(self._folder, target)
    if found is None:
      return None
    self._set_aside(found.damaged, found.step)
    return found.step, found.state

  def _drop_damaged_dates(self):
    """Removes damaged files in which orbax keeps when each was written; it would not open these."""
    for found in ocp.path.step.standard_name_format().find_all(self._folder):
      try:
        _ = found.commit_timestamp
      except FileNotFoundError:
        pass
      except Exception:  # orbax checks some of what it reads
        (pathlib.Path(found.path) / _ABOUT).unlink(missing_ok=True)
        logging.warning('the date of checkpoint %s is damaged, and no longer known', found.step)

  def _set_aside(self, damaged, used):
    """Moves damaged checkpoints out of the way, where that is possible."""
    if not damaged:
      return
    distributed.barrier('all know what is damaged')
    for step in damaged if distributed.is_primary() else ():
      try:
        done = f'moved to {set_aside(self._folder, step)}'
      except OSError as error:
        done = f'not moved, {error.strerror}'
      logging.warning('checkpoint %d is damaged: %s, using that of %d', step, done, used)
    distributed.barrier('damaged checkpoints are set aside')
    self._manager.reload()


def set_aside(folder: pathlib.Path, step: int) -> pathlib.Path:
  """Renames a damaged checkpoint, so that it no longer counts; returns its new path."""
  return (folder / str(step)).rename(folder / f'damaged-{step}-{time.time_ns()}')


def damaged_bounds(folder: pathlib.Path) -> dict[int, Callable[[], str]]:
  """Checkpoints by step of which the bound is damaged, with what removes it.

  They are as sound as before, but no longer count among the best.
  """
  found: dict[int, Callable[[], str]] = {}
  for path in folder.glob('[0-9]*/metrics/metrics'):
    try:
      float(_bound(json.loads(path.read_text())))
    except FileNotFoundError:
      pass  # a process that trains has just deleted that checkpoint
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
      found[int(path.parent.parent.name)] = functools.partial(_remove, path)
  return found


def _remove(path: pathlib.Path) -> str:
  path.unlink()
  return ''


def of_run(folder: pathlib.Path, train: TrainConfig) -> Checkpoints:
  """The checkpoints of the run in a folder, kept as its configuration asks."""
  return Checkpoints(
    folder / 'checkpoints', train.keep_checkpoints, train.keep_every, train.keep_best
  )


def restore_run(folder: pathlib.Path, target: Any) -> tuple[int, Any]:
  """The newest sound checkpoint of the run in a folder, which is only read.

  Args:
    folder: the run's.
    target: see `checkpoint_reader.restore`.

  Raises:
    UserError: there is none that can be read.
  """
  found = checkpoint_reader.restore(folder / 'checkpoints', target)
  if found is None:
    raise UserError(f'{folder} holds no checkpoint yet; train first')
  for step in found.damaged:
    logging.warning('checkpoint %d is damaged: using that of %d', step, found.step)
  return found.step, found.state


def _bound(metrics):
  return metrics['elbo']
