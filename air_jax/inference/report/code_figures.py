"""Figures of the codes (z_what) of the objects found: their embedding, and traversals of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from air_jax.evaluation import metrics
from air_jax.inference.predictor import Model
from air_jax.runtime import extras
from air_jax.types import LabelledScenes
from air_jax.viz import palette
from air_jax.viz.backend import Figure
from air_jax.viz.image_grid import ImageGrid

with extras.needed('report', 'the report'):
  from sklearn import decomposition, manifold

FEWEST_CODES = 20  # objects, for an embedding to mean anything
_SCENES = 1000  # whose objects are embedded
_MATCHED = 0.3  # IoU from which an object takes the label of a true one
_DIRECTIONS, _POINTS, _REACH = 5, 9, 2.5  # rows, columns, standard deviations each way
_NAMED = 20  # most labels written into the figure


def codes_of(
  model: Model, scenes: LabelledScenes
) -> tuple[Float[np.ndarray, 'M D'], Int[np.ndarray, ' M']]:
  """The codes of the objects found in scenes, and the labels of the true objects they match.

  Returns:
    (z_what, labels, -1 where an object matches none).
  """
  parsed = model.parse(np.asarray(scenes.images[:_SCENES]))
  codes, labels = [], []
  for i, count in enumerate(parsed.counts):
    named = np.full(count, -1)
    iou = metrics.box_iou(scenes.boxes[i], parsed.boxes[i, :count])
    for true, found in zip(*linear_sum_assignment(iou, maximize=True), strict=True):
      if iou[true, found] > _MATCHED:
        named[found] = scenes.labels[i, true]
    codes.append(parsed.latents.z_what[i, :count])
    labels.append(named)
  return np.concatenate(codes), np.concatenate(labels)


def embedding(codes: Float[np.ndarray, 'M D'], labels: Int[np.ndarray, ' M']) -> Figure:
  """Codes in two dimensions by t-SNE, with a colour and a marker for each label.

  Args:
    codes: z_what of M objects.
    labels: -1 where not known, drawn grey.
  """
  perplexity = min(30.0, (len(codes) - 1) / 3)
  points = manifold.TSNE(perplexity=perplexity, init='pca', random_state=0).fit_transform(codes)
  figure = Figure(figsize=(6.4, 5.4), layout='constrained')
  axis = figure.subplots()
  known = np.unique(labels[labels >= 0])
  x, y = points[labels < 0].T
  style: dict[str, Any] = {'edgecolors': 'black', 'linewidths': 0.4, 'rasterized': True}
  axis.scatter(x, y, s=10, color='0.6', **style)
  for i, label in enumerate(known):
    x, y = points[labels == label].T
    number = len(palette.MARKERS)
    marker = palette.MARKERS[(i + i // number) % number]  # no pair of colour and marker repeats
    axis.scatter(x, y, s=16, color=palette.colour(i), marker=marker, **style)
    if len(known) <= _NAMED:
      axis.text(
        float(np.median(x)), float(np.median(y)), str(label), fontsize=13, fontweight='bold',
        ha='center', va='center',
      )  # fmt: skip
  axis.set(xticks=[], yticks=[], xlabel='t-SNE dimension 1', ylabel='t-SNE dimension 2')
  return figure


def traversal(
  decode: Callable[[Float[np.ndarray, 'M D']], Float[np.ndarray, 'M h w C']],
  codes: Float[np.ndarray, 'M D'],
) -> Figure:
  """One object, changed along the principal components of the codes.

  Args:
    decode: codes -> glimpses in [0, 1].
    codes: z_what of M objects.
  """
  number = min(_DIRECTIONS, *codes.shape)
  components = decomposition.PCA(number, random_state=0).fit(codes)
  # The code nearest to the mean: a typical object.
  start = codes[np.argmin(((codes - codes.mean(0)) ** 2).sum(1))]
  deviations = np.linspace(-_REACH, _REACH, _POINTS)
  along = components.components_ * components.explained_variance_[:, None] ** 0.5
  walk = start + deviations[:, None] * along[:, None]
  glimpses = decode(walk.reshape(-1, codes.shape[1]).astype(np.float32))
  grid = ImageGrid(number, _POINTS)
  for row, fraction in enumerate(components.explained_variance_ratio_):
    grid.name_row(row, f'{fraction:.0%} of variance')
    for column, deviation in enumerate(deviations):
      grid.show(row, column, glimpses[row * _POINTS + column])
      if row == 0:
        grid.title(row, column, f'{deviation:+.1f} std')
  return grid.figure
