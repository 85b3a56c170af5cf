"""Curves and points: how runs learned, how noisy gradients are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from air_jax.viz import palette
from air_jax.viz.backend import Axes, Figure

Record = Mapping[str, Any]  # a line of metrics.jsonl

_NAMED = 16  # most curves with a name in the legend
_AXES = {'count_accuracy': 'count accuracy', 'elbo': 'ELBO, nats'}


def training(records: Sequence[Record]) -> Figure:
  """Count accuracy and ELBO of one run over its training steps.

  Args:
    records: of metrics.jsonl, see `metric_writers`.
  """
  figure, axes = _accuracy_and_elbo('')
  for name, axis in axes.items():
    for i, (split, label) in enumerate((('train', 'training batches'), ('test', 'held out'))):
      if curve := _curve(records, split, name):
        axis.plot(
          *zip(*curve, strict=True), label=label, color=(palette.BLUE, palette.VERMILLION)[i],
          linestyle=palette.line_style(i), marker='o' if i else '', markersize=4, linewidth=1.4,
        )  # fmt: skip
    _finish(axis)
  return figure


def population(
  members: Sequence[Sequence[Record]], title: str = 'member', names: Sequence[str] | None = None
) -> Figure:
  """Held-out count accuracy and ELBO of several runs over their training steps.

  Args:
    members: for each run the records of its metrics.jsonl.
    title: of the legend.
    names: of the runs there; None numbers them.
  """
  figure, axes = _accuracy_and_elbo('held-out ')
  for name, axis in axes.items():
    for i, records in enumerate(members):
      if curve := _curve(records, 'test', name):
        label = (names[i] if names else str(i)) if len(members) <= _NAMED else None
        axis.plot(
          *zip(*curve, strict=True), label=label, color=palette.colour(i), linewidth=1.2,
          linestyle=palette.line_style(i), marker=_marker(i), markersize=4,
          markeredgecolor='black', markeredgewidth=0.5,
        )  # fmt: skip
    _finish(axis, legend=False)
  handles, labels = axis.get_legend_handles_labels()
  if handles:
    figure.legend(
      handles, labels, title=title, fontsize=8, loc='outside right center', ncols=1 if names else 2
    )
  return figure


def variance(summary: Mapping[str, Any]) -> Figure:
  """Variance and cost of each estimator's gradient.

  Args:
    summary: of `gradient_variance.measure`.
  """
  figure = Figure(figsize=(9.0, 4.4), layout='constrained')
  noise, cost = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
  estimators: dict[str, Any] = summary['estimators']
  rows = np.arange(len(estimators))
  for i, part in enumerate(next(iter(estimators.values()))['parts']):
    variances = [measured['parts'][part]['variance'] for measured in estimators.values()]
    noise.plot(
      variances, rows, linestyle='', label=part, color=palette.colour(i), marker=_marker(i),
      markersize=6, markeredgecolor='black', markeredgewidth=0.5,
    )  # fmt: skip
  noise.set(xscale='log', yticks=rows, yticklabels=list(estimators), ylabel='estimator')
  noise.set_xlabel('variance of the gradient, nats², mean over parameters', fontsize=9)
  noise.invert_yaxis()
  figure.legend(loc='outside lower center', ncols=5, fontsize=8)
  cost.barh(rows, [measured['milliseconds'] for measured in estimators.values()], color='0.6')
  cost.set_xlabel('time per gradient, ms', fontsize=9)
  for axis in (noise, cost):
    axis.grid(alpha=0.3)
    axis.tick_params(labelsize=8)
  images, step = summary['images'], summary['step']
  figure.suptitle(f'Gradient of {images} images at training step {step:,}', fontsize=10)
  return figure


def gradient_norms(norms: Mapping[str, float]) -> Figure:
  """The norm of one batch's gradient, in nats, by part of the model."""
  figure = Figure(figsize=(9.0, 2.6), layout='constrained')
  axis = figure.subplots()
  axis.barh(list(norms), list(norms.values()), color=palette.BLUE)
  axis.set(xscale='log', xlabel='norm of the gradient, nats', ylabel='part of the model')
  axis.invert_yaxis()
  axis.grid(alpha=0.3, axis='x')
  return figure


def _curve(records: Sequence[Record], split: str, name: str) -> list[tuple[int, float]]:
  return [(x['step'], x[name]) for x in records if x['split'] == split and name in x]


def _accuracy_and_elbo(which: str) -> tuple[Figure, dict[str, Axes]]:
  """A figure, and its two axes over the training steps by the name of what they show."""
  figure = Figure(figsize=(9.0, 3.2), layout='constrained')
  axes = dict(zip(_AXES, figure.subplots(1, 2), strict=True))
  for name, axis in axes.items():
    axis.set(xlabel='training step', ylabel=which + _AXES[name])
    axis.grid(alpha=0.3)
  return figure, axes


def _finish(axis: Axes, legend: bool = True) -> None:
  """Adds the legend, or says why nothing is drawn."""
  if not axis.lines:
    axis.set(xticks=[], yticks=[])
    axis.text(0.5, 0.5, 'no values recorded', ha='center', va='center', transform=axis.transAxes)
  elif legend:
    axis.legend(fontsize=8)


def _marker(i: int) -> str:
  return palette.MARKERS[i % len(palette.MARKERS)]
