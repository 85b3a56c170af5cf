"""From the states and reports of a population to what its callbacks are given."""

import pathlib
from typing import Any

import jax
import numpy as np

from air_jax.callbacks import Callback, MetricsRecord, Snapshot
from air_jax.config import schema
from air_jax.config.members import member_config
from air_jax.config.sections import Config
from air_jax.evaluation import held_out, population_summary
from air_jax.runtime import distributed
from air_jax.storage import run_dir
from air_jax.training import divergence, plateau, population
from air_jax.training.population import Population
from air_jax.training.train_step import TrainState
from air_jax.types import LabelledScenes

_HEADLINE = 'count_accuracy', 'elbo', 'box_iou'  # of a run, in TensorBoard's table of runs


class Recorder:
  """Reads reports, evaluates members, keeps summaries in the run's folder, and tells callbacks."""

  def __init__(
    self,
    config: Config,
    members: Population,
    scenes: LabelledScenes,
    folder: pathlib.Path,
    step: int,
    callbacks: Callback,
  ):
    self._config, self._members, self._scenes = config, members, scenes
    self._folder, self._callbacks = folder, callbacks
    self._size = len(members.seeds)
    self._learner = distributed.gather(members.learner)
    known = run_dir.diverged(folder, step, self._size)
    self._divergence = divergence.Divergence(self._size, known, self._on_divergence)
    self._unread: tuple[int, dict[str, Any]] | None = None
    self._unseen: list[Snapshot] = []
    self._plateau = plateau.resumed(config.train, len(scenes.images), folder, step)
    self.end = distributed.max_over_processes(self._plateau.end)  # the step at which the run ends

  def later(self, start: int, reports: dict[str, Any]) -> None:
    """Takes the reports of a chunk that the device has begun, and reads those of the one before.

    The device does not wait for that, nor for what callbacks make of the models they are shown.
    """
    self.flush()
    self._unread = start, reports
    self.finish()

  def finish(self) -> None:
    """Shows callbacks the models that they have not seen yet."""
    unseen, self._unseen = self._unseen, []
    for snapshot in unseen:
      self._callbacks.on_snapshot(snapshot)

  def flush(self) -> None:
    """Reads the reports that have not been read.

    Raises:
      DivergenceError: every member has diverged.
    """
    if self._unread is None:
      return
    (start, reports), self._unread = self._unread, None
    reports = {name: np.asarray(values) for name, values in reports.items()}
    self._divergence.check_reports(start, reports)
    step = start + len(reports['loss'])
    means = {i: divergence.means(reports, i) for i in self._divergence.alive()}
    for i, scalars in means.items():
      self._metrics(step, 'train', i, scalars)
      if skipped := scalars.get('skipped'):
        name = f'member {i}, ' if self._size > 1 else ''
        self._callbacks.on_message(
          f'{name}steps {start + 1} to {step}: {skipped:.0f} updates left out, gradient not finite'
        )
    if self._size > 1:
      self._metrics(step, 'train', None, population_summary.mean(list(means.values())))

  def check(self, step: int, states: TrainState) -> None:
    """Reads all reports and checks the parameters, so that nothing diverged is kept.

    Raises:
      DivergenceError: every member has diverged.
    """
    self.flush()
    self._divergence.check_params(step, distributed.gather(states.params))

  def show(self, step: int, states: TrainState) -> None:
    """Gives callbacks a look at every member between evaluations, once the device is busy."""
    averages = distributed.gather(states.average)
    for i in self._divergence.alive():
      self._unseen.append(self._snapshot(step, averages, i))

  def compile_evaluation(self) -> None:
    """Compiles the program of the evaluation, which the first one then finds."""
    learner = population.member(self._learner, 0)
    params = jax.eval_shape(lambda states: states.average, population.shapes(self._members))
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), params)
    held_out.compile_ahead(learner.model, params, np.asarray(self._scenes.images))

  def evaluate(self, step: int, states: TrainState, figures: bool) -> dict[str, Any]:
    """Evaluates every member on the held-out scenes; returns the summary of all.

    Args:
      step: the training step.
      states: with a leading [N].
      figures: whether figures are due.
    """
    averages, summaries = distributed.gather(states.average), {}
    last = step == self.end
    for i in self._divergence.alive():
      shown = self._snapshot(step, averages, i)
      evaluation, summary = held_out.evaluate(
        shown.model, shown.params, self._scenes, self._members.seeds[i], step
      )
      summaries[i], scalars = summary, held_out.scalars(summary)
      self._metrics(step, 'test', i, scalars)
      member = self._name(i)
      self._callbacks.on_histograms(step, member, held_out.posteriors(evaluation))
      if distributed.is_primary():
        run_dir.write_evaluation(run_dir.member_dirs(self._folder, self._size)[i], summary)
      self._callbacks.on_snapshot(
        shown._replace(evaluation=evaluation, figures=figures or last, last=last)
      )
      if last:
        names = [f'test/{name}' for name in _HEADLINE if name in scalars]
        self._callbacks.on_hparams(step, member, schema.to_flat(shown.config), names)
    summary = population_summary.summarize(
      summaries, self._divergence.known, self._config.train.success
    )
    if self._size > 1:
      self._metrics(step, 'test', None, held_out.scalars(summary))
      if distributed.is_primary():
        run_dir.write_evaluation(self._folder, summary)
    self._callbacks.on_evaluation(step, summary)
    if self._plateau.add(step, {i: held_out.scalars(each) for i, each in summaries.items()}):
      self._callbacks.on_message(
        f'step {step:>7,}: at a plateau (train.stop_when={self._config.train.stop_when}); the run '
        f'ends at step {self._plateau.end:,}'
      )
    self.end = distributed.max_over_processes(self._plateau.end)
    return summary

  def _snapshot(self, step, averages, i):
    learner = population.member(self._learner, i)
    return Snapshot(
      step=step,
      member=self._name(i),
      config=member_config(self._config, i),
      model=learner.model,
      params=population.member(averages, i),
      scenes=self._scenes,
      evaluation=None,
      figures=False,
      last=False,
    )

  def _metrics(self, step, split, member, scalars):
    self._callbacks.on_metrics(MetricsRecord(step, split, self._name(member), scalars))

  def _name(self, member):
    """Of a run by itself there are no members."""
    return member if self._size > 1 else None

  def _on_divergence(self, new, known):
    if self._size == 1:
      return
    if distributed.is_primary():
      run_dir.write_diverged(self._folder, known)
    for i, each in new.items():
      what = ', '.join(each['what'])
      self._callbacks.on_message(f'member {i} diverged at step {each["step"]}: {what}')
