"""The callback that draws a run as it trains. What draws is imported when it is first used."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from air_jax.callbacks import Callback, CallbackList, FigureRecord, Snapshot
from air_jax.config.sections import Config
from air_jax.evaluation import metrics
from air_jax.inference.predictor import Model
from air_jax.runtime import extras
from air_jax.storage import metric_writers, run_dir


class FigureWriter(Callback):
  """Draws figures and animations into a run's folder, and reports each to other callbacks."""

  def __init__(self, workdir: str | os.PathLike, report_to: Sequence[Callback] = ()):
    """Takes the run's folder, and the callbacks that receive the figures.

    Raises:
      UserError: matplotlib is not installed.
    """
    with extras.needed('plots', 'drawing figures'):
      extras.find('matplotlib')
    self._folder = pathlib.Path(os.path.expanduser(workdir))
    self._report_to, self._due = CallbackList(report_to), False
    self._folders = [self._folder]  # of the members
    self._chance: float | None = None  # share of scenes that are miscounted by chance

  def on_start(self, step: int, config: Config) -> None:
    """Discards frames of later steps, which an interrupted run left."""
    self._folders = run_dir.member_dirs(self._folder, config.train.population)
    for folder in self._folders:
      for path in (folder / run_dir.FRAMES).glob('*.png'):
        if int(path.stem) > step:
          path.unlink()

  def on_snapshot(self, snapshot: Snapshot) -> None:
    """Records a frame; draws all figures where they are due."""
    from air_jax.inference import run_figures  # takes half a second, of which training has no need

    folder = self._folders[snapshot.member or 0]
    model = Model(snapshot.config, snapshot.model, snapshot.params, snapshot.step)
    run_figures.record_frame(model, snapshot.scenes, folder)
    self._due, self._chance = snapshot.figures, metrics.chance_error(snapshot.scenes.counts)
    if snapshot.evaluation is None or not snapshot.figures:
      return
    records = metric_writers.read_metrics(folder)
    paths = run_figures.draw_run(model, snapshot.scenes, snapshot.evaluation, records, folder)
    if snapshot.last:
      paths += run_figures.draw_animations(model, snapshot.scenes, folder, folder)
    self._report(snapshot.step, snapshot.member, paths)

  def on_evaluation(self, step: int, summary: Mapping[str, Any]) -> None:
    """Draws the population, once its members were evaluated."""
    if len(self._folders) > 1 and self._due:
      from air_jax.inference import run_figures

      records = [metric_writers.read_metrics(folder) for folder in self._folders]
      paths = run_figures.draw_population(records, self._chance, self._folder)
      self._report(step, None, paths)

  def _report(self, step: int, member: int | None, paths: Sequence[pathlib.Path]) -> None:
    for path in paths:
      self._report_to.on_figure(FigureRecord(step, member, path.stem, path))
