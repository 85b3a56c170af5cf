"""Curves and points: how runs learned, how noisy gradients are."""

import numpy as np
from matplotlib.figure import Figure

COLOURS = ('tab:red', 'tab:green', 'tab:blue', 'tab:orange', 'tab:purple', 'tab:brown')


def training(lines):
  """Count accuracy and ELBO over training.

  Args:
    lines: dicts of metrics.jsonl, see `logs.read`.

  Returns:
    matplotlib Figure.
  """
  figure, axes = _accuracy_and_elbo('')
  for name, axis in axes.items():
    for split, style in (('train', '-'), ('test', 'o-')):
      curve = [
        (line['step'], line[name]) for line in lines if line['split'] == split and name in line
      ]
      if curve:
        shown = 'training batches' if split == 'train' else 'held out'
        axis.plot(*zip(*curve, strict=True), style, label=shown, markersize=4, linewidth=1.2)
        axis.legend(fontsize=8)
  return figure


def population(members, title='member', names=None):
  """Each member's held-out count accuracy and ELBO over training.

  Args:
    members: for each member the dicts of its metrics.jsonl, see `logs.read`.
    title: of the legend.
    names: of the members there; None numbers them.

  Returns:
    matplotlib Figure.
  """
  figure, axes = _accuracy_and_elbo('held-out ')
  for name, axis in axes.items():
    for i, lines in enumerate(members):
      curve = [(x['step'], x[name]) for x in lines if x['split'] == 'test' and name in x]
      if curve:
        shown = (names[i] if names else str(i)) if len(members) <= 16 else None
        axis.plot(*zip(*curve, strict=True), 'o-', label=shown, markersize=2.5, linewidth=0.9)
  handles, labels = axis.get_legend_handles_labels()
  if handles:
    figure.legend(
      handles, labels, title=title, fontsize=7, loc='outside right center', ncols=1 if names else 2
    )
  return figure


def variance(summary):
  """How noisy and how dear each estimator's gradient is.

  Args:
    summary: dict of `variance.measure`.

  Returns:
    matplotlib Figure.
  """
  figure = Figure(figsize=(9.0, 4.4), layout='constrained')
  noise, cost = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
  estimators = summary['estimators']
  rows = np.arange(len(estimators))
  for i, part in enumerate(next(iter(estimators.values()))['parts']):
    variances = [figures['parts'][part]['variance'] for figures in estimators.values()]
    noise.plot(
      variances, rows, 'o', label=part, color=COLOURS[i % len(COLOURS)], markersize=5, alpha=0.8
    )
  noise.set(xscale='log', yticks=rows, yticklabels=list(estimators))
  noise.set_title('variance of a gradient, mean over parameters', fontsize=9)
  noise.invert_yaxis()
  figure.legend(loc='outside lower center', ncols=5, fontsize=8)
  cost.barh(rows, [figures['milliseconds'] for figures in estimators.values()], color='0.6')
  cost.set_title('ms a gradient', fontsize=9)
  for axis in (noise, cost):
    axis.grid(alpha=0.3)
    axis.tick_params(labelsize=8)
  figure.suptitle(f'{summary["images"]} images at step {summary["step"]:,}', fontsize=10)
  return figure


def _accuracy_and_elbo(which):
  """A figure, and its two axes over the steps by the name of what they show."""
  figure = Figure(figsize=(9.0, 3.2), layout='constrained')
  axes = dict(zip(('count_accuracy', 'elbo'), figure.subplots(1, 2), strict=True))
  for axis, label in zip(axes.values(), ('count accuracy', 'ELBO, nats'), strict=True):
    axis.set(xlabel='step', title=f'{which}{label}')
    axis.grid(alpha=0.3)
  return figure, axes
