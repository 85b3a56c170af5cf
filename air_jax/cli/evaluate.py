"""Evaluation of a run with all its members, kept in their folders."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from air_jax.cli import output
from air_jax.data import loading
from air_jax.evaluation import held_out, population_summary
from air_jax.inference import restore
from air_jax.storage import run_dir


def evaluate_run(
  workdir: str | os.PathLike,
  particles: int = 0,
  member: int | None = None,
  changes: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], pathlib.Path | None]:
  """Evaluates a run on held-out scenes, and keeps each summary as evaluation.json.

  Args:
    workdir: folder of the run.
    particles: samples of a tighter bound, see `held_out.evaluate`.
    member: the only member to evaluate; None evaluates all.
    changes: values by dotted key that differ from the run's configuration, see `adaptation.adapt`;
      nothing is kept then, nor of a run that may only be read.

  Returns:
    (the member's summary, or that of all, see `population_summary.summarize`; the folder that
    keeps it, None where nothing is kept).

  Raises:
    UserError: there is no run, no such member, no checkpoint that can be read, no data, or a change
      is not allowed.
  """
  run = restore.restore(workdir, changes)
  scenes, summaries = loading.load(run.config.data, 'test'), {}
  size, kept = run.config.train.population, not changes
  members = [run.chosen(member)] if member is not None else range(size)
  for i in members:
    if member is None and i in run.diverged:
      continue
    model = run.model(i)
    _, summaries[i] = held_out.evaluate(
      model.model, model.params, scenes, model.config.seed, run.step, particles
    )
    kept = kept and _keep(run.member_dir(i), summaries[i])
  if member is not None:
    return summaries[member], run.member_dir(member) if kept else None
  summary = population_summary.summarize(summaries, run.diverged, run.config.train.success)
  if size > 1:
    kept = kept and _keep(run.folder, summary)
  return summary, run.folder if kept else None


def _keep(folder: pathlib.Path, summary: dict[str, Any]) -> bool:
  """Writes evaluation.json into a folder; whether that folder may be written to."""
  with output.kept_in(folder):
    run_dir.write_evaluation(folder, summary)
    return True
  return False
