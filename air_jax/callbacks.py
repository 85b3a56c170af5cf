"""What a training run reports as it goes, and the base class of those who listen.

    class Printer(air_jax.Callback):
      def on_metrics(self, record):
        print(record.step, record.split, record.scalars['elbo'])

    air_jax.train(config, workdir, callbacks=[Printer()])

Callbacks are called by the primary process alone, in the order they are given. Our own metric
files, figures and the progress bar are callbacks too.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
  import numpy as np

  from air_jax.config.sections import Config
  from air_jax.evaluation.held_out import Evaluation
  from air_jax.model.air import Model
  from air_jax.types import LabelledScenes


class MetricsRecord(NamedTuple):
  """Scalars of one split at a training step."""

  step: int
  split: str  # 'train' or 'test'
  member: int | None  # of a population; None: the run itself, or a population's mean
  scalars: dict[str, float]


class FigureRecord(NamedTuple):
  """A PNG or GIF file that shows a run at a training step."""

  step: int
  member: int | None
  name: str
  path: pathlib.Path


class Snapshot(NamedTuple):
  """The model of a run or of a member at a training step, to look at."""

  step: int
  member: int | None
  config: Config  # of this member
  model: Model
  params: dict[str, Any]  # the averaged parameters, which are evaluated
  scenes: LabelledScenes  # held out
  evaluation: Evaluation | None  # of the scenes, where it is due
  figures: bool  # whether figures are due
  last: bool  # whether this is the last step


class Callback:
  """Does nothing at every event; override what is of interest."""

  def on_start(self, step: int, config: Config) -> None:
    """Training begins, or resumes, at a step; what was recorded of later steps is void."""

  def on_metrics(self, record: MetricsRecord) -> None:
    """Scalars of training batches (means over a chunk of steps) or of held-out scenes."""

  def on_histograms(self, step: int, member: int | None, values: dict[str, np.ndarray]) -> None:
    """Numbers to be shown as histograms, by name."""

  def on_snapshot(self, snapshot: Snapshot) -> None:
    """A model to look at; `snapshot.evaluation` is None between evaluations."""

  def on_evaluation(self, step: int, summary: dict[str, Any]) -> None:
    """The summary of an evaluation, of a population that of all its members."""

  def on_figure(self, figure: FigureRecord) -> None:
    """A figure was written to disk."""

  def on_hparams(
    self, step: int, member: int | None, config: dict[str, Any], metrics: list[str]
  ) -> None:
    """The flat configuration of a finished run, and the names of its headline metrics."""

  def on_message(self, text: str) -> None:
    """One line for people."""

  def on_end(self, summary: dict[str, Any] | None) -> None:
    """Training ends; None where it was interrupted or failed."""


class CallbackList(Callback):
  """Several callbacks as one."""

  def __init__(self, callbacks: Sequence[Callback]):
    self._callbacks = tuple(callbacks)
    self._started: list[Callback] = []

  def on_start(self, step: int, config: Config) -> None:
    """Starts all, until one fails."""
    for callback in self._callbacks:
      callback.on_start(step, config)
      self._started.append(callback)

  def on_end(self, summary: dict[str, Any] | None) -> None:
    """Ends those that have started."""
    for callback in self._started:
      callback.on_end(summary)

  def __getattribute__(self, name: str) -> Any:
    if not name.startswith('on_') or name in ('on_start', 'on_end'):
      return super().__getattribute__(name)

    def call_all(*args: Any) -> None:
      for callback in self._callbacks:
        getattr(callback, name)(*args)

    return call_all
