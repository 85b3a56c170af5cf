"""Checkpoints: Orbax with a digest, since Orbax does not notice a flipped byte."""

import hashlib
import json
import math
import os
import pathlib
import time
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint.checkpoint_managers import preservation_policy as policies

from air_jax.config.sections import TrainConfig
from air_jax.errors import UserError
from air_jax.runtime import distributed
from air_jax.storage import checkpoint_formats as formats


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
      self._drop_damaged_bounds()
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
    about = {'sha256': digest(arrays), 'version': formats.VERSION}
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
      UserError: there are checkpoints, and all are damaged or of another model.
    """
    damaged, sound = [], []
    steps = sorted(self._manager.all_steps(), reverse=True)
    for step in steps:
      try:
        arrays = self._read(step)
      except Exception:  # Orbax raises whatever a broken file made its libraries raise
        self._manager.reload()
        if max(self._manager.all_steps(), default=step) > steps[0]:
          return self.restore(target)  # a process that trains has saved more, and deleted this one
        damaged.append(step)
        continue
      sound.append(step)
      try:
        restored = step, formats.from_arrays(target, arrays)
      except ValueError:
        continue
      self._set_aside(damaged, step)
      return restored
    if sound:
      raise UserError(
        f'the checkpoints in {self._folder} are of another model than its configuration describes'
      )
    if damaged:
      raise UserError(
        f'every checkpoint in {self._folder} is damaged; remove that folder to start anew'
      )
    return None

  def _drop_damaged_bounds(self):
    """Their checkpoints are as sound as before, but orbax would not open the folder."""
    for path in self._folder.glob('*/metrics/metrics'):
      try:
        float(_bound(json.loads(path.read_text())))
      except FileNotFoundError:
        pass  # a process that trains has just deleted that checkpoint
      except (ValueError, KeyError, TypeError):
        path.unlink()
        step = path.parent.parent.name
        logging.warning('the bound of checkpoint %s is damaged, and no longer counts', step)

  def _set_aside(self, damaged, used):
    """Moves damaged checkpoints out of the way, unless the folder is only to be read."""
    if not damaged:
      return
    distributed.barrier('all know what is damaged')
    for step in damaged if distributed.is_primary() else ():
      aside = self._folder / f'damaged-{step}-{time.time_ns()}'
      try:
        (self._folder / str(step)).rename(aside)
        done = f'moved to {aside}'
      except OSError as error:
        done = f'not moved, {error.strerror}'
      logging.warning('checkpoint %d is damaged: %s, using that of %d', step, done, used)
    distributed.barrier('damaged checkpoints are set aside')
    self._manager.reload()

  def _read(self, step):
    """The arrays of a checkpoint in today's format, by name."""
    folder, handler = self._folder / str(step), ocp.PyTreeCheckpointHandler()
    about = json.loads((folder / 'digest' / 'metadata').read_text())
    tree = handler.metadata(folder / 'state').tree
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    args = ocp.args.PyTreeRestore(restore_args=as_numpy)
    arrays = formats.to_arrays(handler.restore(folder / 'state', args=args))
    version = about.get('version', 1)
    if about['sha256'] != digest(arrays, version):
      raise ValueError('its contents do not match its digest')
    return formats.upgrade(arrays, version)


def of_run(folder: pathlib.Path, train: TrainConfig) -> Checkpoints:
  """The checkpoints of the run in a folder, kept as its configuration asks."""
  return Checkpoints(
    folder / 'checkpoints', train.keep_checkpoints, train.keep_every, train.keep_best
  )


def restore_run(folder: pathlib.Path, train: TrainConfig, target: Any) -> tuple[int, Any]:
  """The newest sound checkpoint of the run in a folder, see `Checkpoints.restore`.

  Raises:
    UserError: there is none that can be read.
  """
  if (folder / 'checkpoints').is_dir():
    with of_run(folder, train) as checkpoints:
      if restored := checkpoints.restore(target):
        return restored
  raise UserError(f'{folder} holds no checkpoint yet; train first')


def _bound(metrics):
  return metrics['elbo']


def digest(arrays: formats.Arrays, version: int = formats.VERSION) -> str:
  """SHA-256 of the arrays' names, types, shapes and bytes, in hexadecimal."""
  result = hashlib.sha256()
  for name, array in formats.digest_order(distributed.gather(arrays), version):
    result.update(f'{name} {array.dtype} {array.shape}'.encode())
    result.update(array.tobytes())
  return result.hexdigest()
