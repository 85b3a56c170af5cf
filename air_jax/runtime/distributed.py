"""Several processes as one program, on one host or on many.

All run the same code, each with its own devices, and get the same results. Only the primary process
writes metrics and figures; all write checkpoints, into a folder that they share.
"""

import atexit
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from air_jax.errors import Interrupted, UserError

_START_S = 300  # to wait for the others at the start
_HEARTBEAT_S = 60  # of silence after which a process counts as lost
_LOST = ('Gloo', 'NCCL', 'oordination', 'UNAVAILABLE', 'DEADLINE_EXCEEDED', 'heartbeat')


@contextlib.contextmanager
def initialize(
  coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> Iterator[None]:
  """Makes this process one of several while the context lasts; enter it before JAX computes.

  All but the primary process are silent on stdout. A process that fails exits at once; the others,
  which wait for it, end with a line that says so.

  Args:
    coordinator: 'host:port' where the primary process listens; None takes this and what follows
      from the environment (Slurm, Open MPI, a TPU pod, GKE).
    processes: how many there are.
    process: the number of this one, from 0.

  Raises:
    UserError: the others cannot be found, or one of them was lost.
  """
  # JAX's service would handle SIGTERM itself, and training could not stop with a checkpoint.
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
      if not is_primary():
        stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, 'w'))))
      yield
  except Interrupted:
    raise  # by all of them
  except UserError as error:
    _leave_at_exit(error.exit_code)
    raise
  except Exception as error:
    _leave_at_exit(1)
    if is_connection_loss(error):
      lost = UserError(
        f'process {jax.process_index()} of {jax.process_count()} has lost another one '
        f'({_first_line(error)}); start all of them anew to go on from the last checkpoint'
      )
      _leave_at_exit(lost.exit_code)
      raise lost from error
    raise


def check_address(coordinator: str) -> None:
  """Refuses what is no 'host:port'.

  Raises:
    UserError: it is none.
  """
  host, _, port = coordinator.rpartition(':')
  if not host or not port.isdecimal() or not 0 < int(port[:9]) < 2**16:
    raise UserError(
      f'--coordinator={coordinator} is not allowed; it must be HOST:PORT, the port in 1..65535'
    )


def is_connection_loss(error: BaseException) -> bool:
  """Whether an exception means that another process is gone."""
  possible = isinstance(error, (ValueError, RuntimeError)) and jax.process_count() > 1
  return possible and any(word in str(error) for word in _LOST)


def is_primary() -> bool:
  """Whether this process is the one that writes logs and prints."""
  return jax.process_index() == 0


def barrier(name: str) -> None:
  """Waits until all processes have reached the barrier of this name."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def primary_first(name: str) -> Iterator[None]:
  """The primary process runs the block before the others do, which then find it done."""
  if not is_primary():
    barrier(name)
  yield
  if is_primary():
    barrier(name)


def max_over_processes(number: int) -> int:
  """The maximum over processes of a number that each has."""
  if jax.process_count() == 1:
    return number
  return int(multihost_utils.process_allgather(np.int64(number).astype(np.int32)).max())


def gather(tree: Any) -> Any:
  """The arrays of a tree, which may be sharded over processes, in full as NumPy arrays."""

  def whole(x: Any) -> np.ndarray:
    if isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated):
      return multihost_utils.process_allgather(x, tiled=True)
    return np.asarray(x)

  return jax.tree.map(whole, tree)


def _leave_at_exit(code: int) -> None:
  """Exits without JAX's shutdown, which waits for the others while they wait for this process."""

  def leave() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

  atexit.register(leave)


def _first_line(error: BaseException) -> str:
  return (str(error).strip().splitlines() or [type(error).__name__])[0]
