"""Figures of the report alone: the space of codes, a walk through it, gradients by part."""

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure as MatplotlibFigure
from scipy.optimize import linear_sum_assignment
from sklearn import decomposition, manifold

from air_jax.evaluation import metrics
from air_jax.training import gradient_variance, train_step
from air_jax.viz.image_grid import Sheet

FEWEST_CODES = 20  # objects, for a projection to mean anything
_SCENES = 1000  # whose objects are projected
_MATCHED = 0.3  # IoU from which an object is the true one
_DIRECTIONS, _POINTS, _REACH = 5, 9, 2.5  # rows and columns of a walk, and its deviations each way
_NAMED = 20  # most labels with a colour of their own


def codes_of(model, scenes):
  """The codes of the objects found in scenes, with the labels of the true ones they match.

  Args:
    model: `trained.Model`.
    scenes: `LabelledScenes`.

  Returns:
    ([M, D] z_what, [M] int labels, -1 where there is none).
  """
  seen = model.parse(scenes.images[:_SCENES])
  codes, labels = [], []
  for i, count in enumerate(seen.counts):
    named = np.full(count, -1)
    iou = metrics.box_iou(scenes.boxes[i], seen.boxes[i, :count])
    for true, found in zip(*linear_sum_assignment(iou, maximize=True), strict=True):
      if iou[true, found] > _MATCHED:
        named[found] = scenes.labels[i, true]
    codes.append(seen.latents.z_what[i, :count])
    labels.append(named)
  return np.concatenate(codes), np.concatenate(labels)


def latent_space(codes, labels):
  """Codes in two dimensions by t-SNE, coloured by label.

  Args:
    codes: [M, D].
    labels: [M] ints, -1 unknown.

  Returns:
    matplotlib Figure.
  """
  perplexity = min(30.0, (len(codes) - 1) / 3)
  places = manifold.TSNE(perplexity=perplexity, init='pca', random_state=0).fit_transform(codes)
  figure = MatplotlibFigure(figsize=(6.4, 5.4), layout='constrained')
  axis = figure.subplots()
  known = np.unique(labels[labels >= 0])
  axis.scatter(*places[labels < 0].T, s=7, color='0.6', rasterized=True)
  for i, label in enumerate(known):
    chosen = places[labels == label]
    axis.scatter(*chosen.T, s=7, color=f'C{i % 10}', label=str(label), rasterized=True)
    if len(known) <= _NAMED:
      axis.text(*np.median(chosen, 0), str(label), fontsize=13, fontweight='bold', ha='center')
  axis.set_axis_off()
  return figure


def traversal(model, codes):
  """One object changed along the principal components of codes.

  Args:
    model: `trained.Model`.
    codes: [M, D].

  Returns:
    matplotlib Figure.
  """
  number = min(_DIRECTIONS, *codes.shape)
  components = decomposition.PCA(number, random_state=0).fit(codes)
  # The object nearest to the mean code: the walk starts from what is typical.
  start = codes[np.argmin(((codes - codes.mean(0)) ** 2).sum(1))]
  deviations = np.linspace(-_REACH, _REACH, _POINTS)
  along = components.components_ * components.explained_variance_[:, None] ** 0.5
  walk = start + deviations[:, None] * along[:, None]
  glimpses = model.decode(walk.reshape(-1, codes.shape[1]).astype(np.float32))
  sheet = Sheet(number, _POINTS)
  for row, share in enumerate(components.explained_variance_ratio_):
    sheet.name_row(row, f'{share:.0%} of variance')
    for column, deviation in enumerate(deviations):
      sheet.image(row, column, glimpses[row * _POINTS + column])
      if row == 0:
        sheet.title(row, column, f'{deviation:+.1f}')
  return sheet.figure


def gradient_norms(learning, state, images):
  """The norm of one batch's gradient by part of the model.

  Args:
    learning: `Learner`.
    state: `TrainState`.
    images: [B, H, W, C] uint8; the first batch of them is used.

  Returns:
    matplotlib Figure.
  """
  batch = images[: learning.config.train.batch_size]
  key = jax.random.key(learning.config.seed)
  slope, _ = jax.jit(train_step.gradient, static_argnums=0)(
    learning, state.params, state.step, batch, key
  )
  norms = {}
  for part, names in gradient_variance.PARTS.items():
    leaves = jax.tree.leaves([slope[name] for name in names if name in slope])
    norms[part] = float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in leaves)))
  figure = MatplotlibFigure(figsize=(9.0, 2.6), layout='constrained')
  axis = figure.subplots()
  axis.barh(list(norms), list(norms.values()), color='tab:blue')
  axis.set(xscale='log', xlabel='norm of the gradient, nats')
  axis.invert_yaxis()
  axis.grid(alpha=0.3, axis='x')
  return figure
