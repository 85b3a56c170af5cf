"""Members whose training diverged: losses, gradients or parameters that are NaN or infinite."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from air_jax.errors import DivergenceError

Known = dict[int, dict[str, Any]]  # by member: `step`, and `what` was not finite


class Divergence:
  """Keeps account of diverged members, which are left out from then on."""

  def __init__(self, size: int, known: Known, on_new: Callable[[Known, Known], None]):
    """Starts with what was known when the run was interrupted.

    Args:
      size: N, members of the population.
      known: members that had diverged.
      on_new: called with the members that have newly diverged, and with all.
    """
    self.known, self._size, self._on_new = known, size, on_new

  def alive(self) -> list[int]:
    """The members that have not diverged."""
    return [i for i in range(self._size) if i not in self.known]

  def check_reports(self, start: int, reports: dict[str, np.ndarray]) -> None:
    """Checks the reports [steps, N] of the steps after `start`.

    Raises:
      DivergenceError: every member has diverged.
    """
    broken: dict[int, tuple[int, list[str]]] = {}
    for i in range(self._size):
      made = applied(reports, i)
      bad = {name: made & ~np.isfinite(values[:, i]) for name, values in reports.items()}
      first = {name: int(np.argmax(where)) for name, where in bad.items() if where.any()}
      if not made.any():
        first = {'every gradient since': 0}
      if first:
        at = min(first.values())
        broken[i] = start + at + 1, [name for name in first if first[name] == at]
    self._record(broken)

  def check_params(self, step: int, params: dict[str, Any]) -> None:
    """Checks parameters with a leading [N]: the loss of the last update was from before it.

    Raises:
      DivergenceError: every member has diverged.
    """
    broken: dict[int, tuple[int, list[str]]] = {}
    for role, values in params.items():
      leaves = [leaf.reshape(self._size, -1) for leaf in jax.tree.leaves(values)]
      finite = np.all([np.isfinite(leaf).all(1) for leaf in leaves], axis=0)
      for i in np.flatnonzero(~finite):
        broken.setdefault(int(i), (step, []))[1].append(f'parameters of {role}')
    self._record(broken)

  def _record(self, broken):
    new = {i: {'step': s, 'what': w} for i, (s, w) in broken.items() if i not in self.known}
    self.known |= new
    if new:
      self._on_new(new, self.known)
    if len(self.known) == self._size:
      first = min(self.known.values(), key=lambda each: each['step'])
      every = 'in every member, first ' if self._size > 1 else ''
      raise DivergenceError(
        f'training diverged: {every}at step {first["step"]} these are not finite: '
        f'{", ".join(first["what"])}; the last checkpoint is from before; try a lower '
        'train.learning_rate or a train.clip_norm'
      )


def applied(reports: dict[str, np.ndarray], member: int) -> np.ndarray:
  """[steps] which updates of a member were applied, rather than left out as not finite."""
  skipped = reports.get('skipped', np.zeros_like(reports['loss']))
  return skipped[:, member] == 0


def means(reports: dict[str, np.ndarray], member: int) -> dict[str, float]:
  """Each report of a member, mean over the updates applied; `skipped` is how many were not."""
  made = applied(reports, member)
  result = {name: float(values[made, member].mean()) for name, values in reports.items()}
  return result | ({'skipped': float(np.sum(~made))} if 'skipped' in reports else {})
