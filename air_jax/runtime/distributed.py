"""Several processes as one program, on one host or on many: where they meet, and who speaks.

All of them run the same lines, each with its own devices, and compute the same. The first alone
writes what people read; checkpoints are written by all, into a folder that all share.
"""

import atexit
import contextlib
import os
import pathlib
import sys
import tempfile

import jax
import numpy as np
from jax.experimental import multihost_utils

from air_jax.errors import Interrupted, UserError

_START_S = 300  # to wait for the others at the start
_HEARTBEAT_S = 60  # of silence after which a process counts as lost
_LOST = ('Gloo', 'NCCL', 'oordination', 'UNAVAILABLE', 'DEADLINE_EXCEEDED', 'heartbeat')


@contextlib.contextmanager
def joined(coordinator=None, processes=None, process=None):
  """While it lasts, this process is one of several; to be entered before JAX computes anything.

  All but the first are silent on stdout. A process that fails by itself leaves at once, and the
  others, which it leaves waiting, end with a line that says so.

  Args:
    coordinator: 'host:port' where the first process listens; None finds out this and what follows
      from the environment (Slurm, Open MPI, a TPU pod, GKE).
    processes: how many there are.
    process: the number of this one, from 0.

  Raises:
    UserError: the others cannot be found, or one of them was lost.
  """
  # JAX would take SIGTERM for itself, and training would not hear of it.
  jax.config.update('jax_enable_preemption_service', False)
  try:
    jax.distributed.initialize(
      coordinator,
      processes,
      process,
      initialization_timeout=_START_S,
      heartbeat_timeout_seconds=_HEARTBEAT_S,
    )
  except (ValueError, RuntimeError) as error:
    where = f'at --coordinator={coordinator}' if coordinator else 'by the environment'
    raise UserError(f'no other processes were found {where}: {_first_line(error)}') from error
  try:
    with contextlib.ExitStack() as stack:
      if not first():
        stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, 'w'))))
      yield
  except Interrupted:
    raise  # by all of them
  except UserError as error:
    _leave_at_exit(error.exit_code)
    raise
  except Exception as error:
    _leave_at_exit(1)
    if is_loss(error):
      lost = UserError(
        f'process {jax.process_index()} of {jax.process_count()} has lost another one '
        f'({_first_line(error)}); start all of them anew to go on from the last checkpoint'
      )
      _leave_at_exit(lost.exit_code)
      raise lost from error
    raise


def is_loss(error):
  """Whether an exception tells that another process is gone."""
  told = isinstance(error, (ValueError, RuntimeError)) and jax.process_count() > 1
  return told and any(word in str(error) for word in _LOST)


def first():
  """Whether this process is the one that writes and speaks."""
  return jax.process_index() == 0


def meet(place):
  """Waits until all processes are at a place, which has a name."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(place)


@contextlib.contextmanager
def first_goes_first(place):
  """The first process does what follows before the others, who then find it done."""
  if not first():
    meet(place)
  yield
  if first():
    meet(place)


@contextlib.contextmanager
def notes(folder):
  """Where to write what people read: a folder, but of all processes but the first a passing one."""
  if first():
    yield folder
  else:
    with tempfile.TemporaryDirectory() as passing:
      yield pathlib.Path(passing)


def highest(number):
  """The highest of an int that each process has, on all of them."""
  if jax.process_count() == 1:
    return number
  return int(multihost_utils.process_allgather(np.int64(number).astype(np.int32)).max())


def gather(tree):
  """The arrays of a tree, which processes may share among them, in full as NumPy arrays."""

  def whole(x):
    if isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated):
      return multihost_utils.process_allgather(x, tiled=True)
    return np.asarray(x)

  return jax.tree.map(whole, tree)


def _leave_at_exit(code):
  """At exit JAX waits for the others, who may be waiting for this process: does not get so far."""

  def leave():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

  atexit.register(leave)


def _first_line(error):
  return (str(error).strip().splitlines() or [type(error).__name__])[0]
