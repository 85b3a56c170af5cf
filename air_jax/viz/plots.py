"""Curves and points: how runs learned, how far counts can be trusted, how noisy gradients are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from air_jax.evaluation import metrics
from air_jax.viz import palette, share_axis
from air_jax.viz.backend import Axes, Figure

Record = Mapping[str, Any]  # a line of metrics.jsonl

_NAMED = 16  # most curves with a name in the legend
_TEXT = 9  # points
_AXES = {'count_accuracy': 'scenes miscounted', 'elbo': 'ELBO, nats'}
_PANELS = 3  # in a row


def training(records: Sequence[Record], chance: float | None = None) -> Figure:
  """Share of miscounted scenes, on a logarithmic axis, and ELBO of one run over its training steps.

  Args:
    records: of metrics.jsonl, see `metric_writers`.
    chance: `metrics.chance_error` of the held-out scenes, for a line.
  """
  figure, axes = _errors_and_elbo('')
  for name, axis in axes.items():
    for i, (split, label) in enumerate((('train', 'training batches'), ('test', 'held out'))):
      if curve := _curve(records, split, name):
        axis.plot(
          *zip(*curve, strict=True), label=label, color=palette.line_colour(i),
          linestyle=palette.line_style(i), marker='o' if i else '', markersize=4, linewidth=1.4,
        )  # fmt: skip
    _finish(axis, name, chance)
  return figure


def population(
  members: Sequence[Sequence[Record]],
  title: str = 'member',
  names: Sequence[str] | None = None,
  chance: float | None = None,
) -> Figure:
  """Share of miscounted held-out scenes and ELBO of several runs over their training steps.

  Args:
    members: for each run the records of its metrics.jsonl.
    title: of the legend.
    names: of the runs there; None numbers them.
    chance: `metrics.chance_error` of the held-out scenes, for a line.
  """
  figure, axes = _errors_and_elbo('held-out ')
  for name, axis in axes.items():
    for i, records in enumerate(members):
      if curve := _curve(records, 'test', name):
        label = (names[i] if names else str(i)) if len(members) <= _NAMED else None
        axis.plot(
          *zip(*curve, strict=True), label=label, color=palette.line_colour(i), linewidth=1.2,
          linestyle=palette.line_style(i), marker=_marker(i), markersize=4,
          markeredgecolor='black', markeredgewidth=0.5,
        )  # fmt: skip
    _finish(axis, name, chance, legend=False)
  shown = [axis.get_legend_handles_labels() for axis in axes.values()]
  by_label = {label: each for found in shown for each, label in zip(*found, strict=True)}
  if by_label:
    figure.legend(
      by_label.values(), by_label, title=title, fontsize=_TEXT, title_fontsize=_TEXT,
      loc='outside lower center', ncols=2 if names else 8,
    )  # fmt: skip
  return figure


def reliability(found: metrics.Calibration) -> Figure:
  """Reliability diagram: how often counts are right over their probability, and how many they are.

  Bars of the points are 95 % intervals (Wilson, 1927).
  """
  used = found.images > 0
  images, confidence, accuracy = (values[used] for values in found)
  pairs = zip(accuracy, images, strict=True)
  bounds = [metrics.wilson_interval(round(share * of), int(of)) for share, of in pairs]
  reach = np.abs(np.reshape(bounds, (-1, 2)) - accuracy[:, None]).T
  figure = Figure(figsize=(5.6, 5.2), layout='constrained')
  shares, numbers = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
  shares.plot([0, 1], [0, 1], color='black', linestyle=(0, (1, 2)), label='calibrated')
  shares.errorbar(
    confidence, accuracy, reach, color=palette.BLUE, marker='o', linestyle='', capsize=2,
    label='counts found', markersize=5,
  )  # fmt: skip
  shares.set(xlim=(0, 1.02), ylim=(0, 1.02), ylabel='share of them right')
  shares.legend(fontsize=_TEXT, loc='upper left')
  edges = np.linspace(0, 1, len(used) + 1)
  width = 1 / len(used)
  numbers.bar(edges[:-1][used], images, width, align='edge', color=palette.BLUE, edgecolor='white')
  if used.any():
    numbers.set(yscale='log', ylim=(0.5, 2 * images.max()))
  numbers.set(ylabel='scenes')
  numbers.set_xlabel('probability of the count found', fontsize=_TEXT)
  for axis in (shares, numbers):
    axis.grid(alpha=0.3)
  return figure


def variance(summary: Mapping[str, Any]) -> Figure:
  """Variance of each estimator's gradient, a panel for each part of the model, and its cost.

  Args:
    summary: of `gradient_variance.measure`.
  """
  estimators: dict[str, Any] = summary['estimators']
  names, measured = list(estimators), list(estimators.values())
  panels = {
    part: [each['parts'][part]['variance'] for each in measured] for part in measured[0]['parts']
  }
  panels['time per gradient'] = [each['milliseconds'] for each in measured]
  rows = -(-len(panels) // _PANELS)
  figure = Figure(figsize=(9.0, rows * (1.1 + 0.2 * len(names))), layout='constrained')
  axes = figure.subplots(rows, _PANELS, sharey=True, squeeze=False).ravel()
  for axis, (title, values) in zip(axes, panels.items(), strict=False):
    axis.plot(values, names, linestyle='', color=palette.BLUE, marker='o', markersize=5)
    _decades(axis, values)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel('ms' if title == 'time per gradient' else 'variance, nats²', fontsize=_TEXT)
    axis.grid(alpha=0.3)
    axis.tick_params(labelsize=_TEXT)
  axes[0].invert_yaxis()  # of all
  for axis in axes[len(panels) :]:
    axis.remove()
  images, step = summary['images'], summary['step']
  figure.suptitle(
    f'Gradient of {images} images at training step {step:,}: mean variance over the parameters of '
    'each part', fontsize=10,
  )  # fmt: skip
  return figure


def _decades(axis: Axes, values: Sequence[float]) -> None:
  """Makes the x-axis logarithmic around positive values; it has a decade at least."""
  logs = np.log10([value for value in values if value > 0] or [1.0])
  spare = max(0.1 * np.ptp(logs), (1 - np.ptp(logs)) / 2) + 0.05
  low, high = logs.min() - spare, logs.max() + spare
  axis.set(xscale='log', xlim=(10**low, 10**high))
  if high - low < 1.6:  # too few powers of ten to label these alone
    ticks = [m * 10.0**e for e in range(int(low) - 1, int(high) + 1) for m in (1, 2, 5)]
    ticks = [tick for tick in ticks if 10**low <= tick <= 10**high]
    axis.set_xticks(ticks, [f'{tick:.3g}' for tick in ticks])
    axis.set_xticks([], minor=True)


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
  found = [(x['step'], x[name]) for x in records if x['split'] == split and name in x]
  if name != 'count_accuracy':
    return found
  errors = share_axis.drawable(1 - accuracy for _, accuracy in found)
  return [(step, float(error)) for (step, _), error in zip(found, errors, strict=True)]


def _errors_and_elbo(which: str) -> tuple[Figure, dict[str, Axes]]:
  """A figure, and its two axes over the training steps by the name of what they show."""
  figure = Figure(figsize=(9.0, 3.6), layout='constrained')
  axes = dict(zip(_AXES, figure.subplots(1, 2), strict=True))
  for name, axis in axes.items():
    axis.set(xlabel='training step', ylabel=which + _AXES[name])
    axis.grid(alpha=0.3)
  return figure, axes


def _finish(axis: Axes, name: str, chance: float | None, legend: bool = True) -> None:
  """Adds the scale, the line of chance and the legend, or says why nothing is drawn."""
  if not axis.lines:
    axis.set(xticks=[], yticks=[])
    axis.text(0.5, 0.5, 'no values recorded', ha='center', va='center', transform=axis.transAxes)
    return
  if name == 'count_accuracy':
    shares = [share for line in axis.lines for share in np.asarray(line.get_ydata())]
    share_axis.apply(axis, shares, chance)
  if legend:
    axis.legend(fontsize=_TEXT)


def _marker(i: int) -> str:
  return palette.MARKERS[i % len(palette.MARKERS)]
