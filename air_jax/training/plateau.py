"""When a run ends before its last step: its held-out evaluations have reached a plateau."""

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from air_jax.config.sections import TrainConfig
from air_jax.evaluation import metrics
from air_jax.storage import metric_writers, run_dir

_LEAST_GAIN = 0.05  # of the bound since the first evaluation, below which it is at a plateau

Scalars = Mapping[str, float]  # of an evaluation, as in metrics.jsonl


class _Best(NamedTuple):
  """The best evaluations of a member so far."""

  first_bound: float
  bound: float
  accuracy: float  # 0 where counts are not known
  in_a_row: int  # evaluations since one was better


class Plateau:
  """Decides the end of a run from its evaluations, in their order.

  A member's evaluation is at a plateau where neither is better than before: its count accuracy, by
  more than chance (the lower end of its 95 % interval is above the best), nor its bound, by more
  than a twentieth of what it has gained since the first evaluation. After `train.stop_when`
  evaluations in a row of which every member's is, the run ends with the next.
  """

  def __init__(self, train: TrainConfig, images: int):
    """Takes section `train`, and the number of held-out images."""
    self._train, self._images = train, images
    self._best: dict[int, _Best] = {}
    self.end = train.steps  # the step at which the run ends, as far as it is known

  def add(self, step: int, evaluated: Mapping[int, Scalars]) -> bool:
    """Takes the evaluation of the members at a step; returns whether it decides the end."""
    for member, scalars in evaluated.items():
      self._best[member] = self._compare(self._best.get(member), scalars)
    most = self._train.stop_when
    if not most or self.end < self._train.steps:
      return False
    if min(self._best[member].in_a_row for member in evaluated) < most:
      return False
    every = self._train.eval_every
    self.end = min(self.end, step - step % every + every)
    return self.end < self._train.steps

  def _compare(self, best, scalars) -> _Best:
    bound, accuracy = scalars['elbo'], scalars.get('count_accuracy', 0.0)
    if best is None:
      return _Best(bound, bound, accuracy, 0)
    least, _ = metrics.wilson_interval(round(accuracy * self._images), self._images)
    gained = bound - best.bound > _LEAST_GAIN * (bound - best.first_bound)
    better = least > best.accuracy or (bound > best.bound and gained)
    return _Best(
      best.first_bound,
      max(bound, best.bound),
      max(accuracy, best.accuracy),
      0 if better else best.in_a_row + 1,
    )


def resumed(train: TrainConfig, images: int, folder: pathlib.Path, step: int) -> Plateau:
  """The plateau of a run that goes on at a step, from the evaluations in its metrics.jsonl."""
  plateau = Plateau(train, images)
  if not (train.stop_when and step):
    return plateau
  evaluated: dict[int, dict[int, Scalars]] = {}
  for member, own in enumerate(run_dir.member_dirs(folder, train.population)):
    for record in metric_writers.read_metrics(own):
      if record['split'] == 'test' and record['step'] <= step:
        evaluated.setdefault(record['step'], {})[member] = record
  for past in sorted(evaluated):
    plateau.add(past, evaluated[past])
  return plateau
