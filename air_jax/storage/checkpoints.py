"""Checkpoints: orbax behind one thin face, with a digest: orbax does not notice a flipped byte."""

import hashlib
import json
import math
import pathlib
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint.checkpoint_managers import preservation_policy as policies

from air_jax.errors import UserError
from air_jax.runtime import distributed


class _OtherShapes(Exception):
  """A checkpoint is of other arrays than are wanted."""


class Checkpoints:
  """The checkpoints of one run, newest last. Use as a context manager.

  Of several processes each writes what its devices hold, and each reads everything by itself, so
  that any other number of them can go on from there.
  """

  def __init__(self, folder, keep, every=0, best=0):
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
    if distributed.first():
      self._drop_damaged_bounds()
    distributed.meet('before checkpoints are opened')
    self._manager = ocp.CheckpointManager(self._folder, options=options)

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self._manager.close()

  def save(self, step, state, bound=-math.inf):
    """Writes a pytree of arrays, all or nothing; returns when it is on disk.

    Args:
      step: its step.
      state: the pytree.
      bound: its held-out ELBO in nats, by which the best are told; -inf where it is not known.

    Raises:
      UserError: it cannot be written; those from before are still there.
    """
    contents = ocp.args.Composite(
      state=ocp.args.StandardSave(state), digest=ocp.args.JsonSave({'sha256': digest(state)})
    )
    try:
      self._manager.save(step, args=contents, metrics={'elbo': float(bound)}, force=True)
    except Exception as error:  # whatever a full disk made orbax's libraries raise
      if distributed.is_loss(error):
        raise
      reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
      raise UserError(
        f'cannot write the checkpoint of step {step} to {self._folder}: {reason}; make room, and '
        'the same command goes on from the one before'
      ) from error

  def restore(self, target):
    """Restores the newest checkpoint that is sound; damaged ones are set aside, and named.

    Args:
      target: pytree of arrays, or of `jax.ShapeDtypeStruct`s, as it was saved.

    Returns:
      (step, state of NumPy arrays), or None where nothing was ever saved.

    Raises:
      UserError: there are checkpoints, and all are damaged or of another model.
    """
    damaged, of_other_shapes = [], []
    for step in sorted(self._manager.all_steps(), reverse=True):
      try:
        restored = step, self._restore(step, target)
      except Exception as error:  # orbax raises whatever a broken file made its libraries raise
        damaged.append(step)
        of_other_shapes.append(isinstance(error, _OtherShapes))
        continue
      if damaged:
        distributed.meet('all know what is damaged')
        for bad in damaged if distributed.first() else ():
          aside = self._set_aside(bad)
          logging.warning(
            'checkpoint %d is damaged: moved to %s, using that of %d', bad, aside, step
          )
        distributed.meet('what is damaged is set aside')
        self._manager.reload()
      return restored
    if damaged and all(of_other_shapes):
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
      except (ValueError, KeyError, TypeError):
        path.unlink()
        step = path.parent.parent.name
        logging.warning('the bound of checkpoint %s is damaged, and no longer counts', step)

  def _set_aside(self, step):
    aside = self._folder / f'damaged-{step}-{time.time_ns()}'
    (self._folder / str(step)).rename(aside)
    return aside

  def _restore(self, step, target):
    folder, handler = self._folder / str(step), ocp.PyTreeCheckpointHandler()
    # First, for orbax is loud about what it finds out while it reads.
    if _shapes(handler.metadata(folder / 'state')) != _shapes(target):
      raise _OtherShapes
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), target)
    state = handler.restore(
      folder / 'state', args=ocp.args.PyTreeRestore(target, restore_args=as_numpy)
    )
    kept = json.loads((folder / 'digest' / 'metadata').read_text())
    if kept['sha256'] != digest(state):
      raise ValueError('its contents do not match its digest')
    return state


def _bound(metrics):
  return metrics['elbo']


def _shapes(tree):
  return sorted(tuple(leaf.shape) for leaf in jax.tree.leaves(tree))


def digest(tree):
  """SHA-256 of a pytree's paths, dtypes, shapes and bytes, in hexadecimal."""
  result = hashlib.sha256()
  for path, array in jax.tree_util.tree_leaves_with_path(distributed.gather(tree)):
    result.update(f'{jax.tree_util.keystr(path)} {array.dtype} {array.shape}'.encode())
    result.update(array.tobytes())
  return result.hexdigest()
