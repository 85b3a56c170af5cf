"""Evaluation on scenes the model has not seen."""

import functools
import json
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from air_jax import objectives
from air_jax.evaluation import metrics
from air_jax.model import air
from air_jax.model import spatial_transformer as transformer
from air_jax.objectives import multi_sample
from air_jax.types import Normal

# Roll-outs at once; bounds memory.
_BATCH = 250  # of as many images
_PARTICLES = 10  # of each image
_IMAGES = 25


class Evaluation(NamedTuple):
  """What the model made of every image, as NumPy arrays."""

  counts: np.ndarray  # [B] int, as `model.parse` counts
  windows: np.ndarray  # [B, T, 3] (scale, x, y) where each step looked
  what: Normal  # [B, T, D] the posterior of what each step saw there
  boxes: np.ndarray  # [B, T, 4] around the ink each step painted, pixels
  squared_error: np.ndarray  # [B] of the reconstruction, mean over pixels
  elbo: np.ndarray  # [B] nats, one sample of where and what, count summed out
  nll: np.ndarray  # [B] nats, its reconstruction term
  kl: np.ndarray  # [B] nats, the rest


def run(model, params, images, success, key):
  """Explains images one batch at a time.

  Args:
    model: `air_jax.model.Model`.
    params: its parameters.
    images: [B, H, W, C] uint8.
    success: success probability of the prior of the count.
    key: consumed, for the sample behind the bound.

  Returns:
    `Evaluation`.
  """
  parts = []
  for batch, keys, size in _batches(images, key, _BATCH):
    evaluated = _explain(model, params, batch, success, keys)
    parts.append(jax.tree.map(lambda field, size=size: np.asarray(field)[:size], evaluated))
  return jax.tree.map(lambda *fields: np.concatenate(fields), *parts)


@functools.partial(jax.jit, static_argnums=0)
def _explain(model, params, images, success, keys):
  """A batch's `Evaluation`."""

  def explain(image, key):
    image = image / 255.0
    latents, rolled = air.parse(model, params, image)
    reconstruction = rolled.canvases[latents.count]
    sampled = air.rollout(model, params, image, air.draw_noise(model, key))
    terms = air.elbo_terms(model, params, image, sampled, success)
    elbo = objectives.elbo(terms)
    nll = jnp.exp(terms.log_q) @ terms.nll
    return Evaluation(
      counts=latents.count,
      windows=jax.vmap(transformer.place)(latents.z_where),
      what=rolled.what,
      boxes=metrics.ink_boxes(rolled.painted.max(-1)),
      squared_error=jnp.mean((image - reconstruction) ** 2),
      elbo=elbo,
      nll=nll,
      kl=-elbo - nll,
    )

  return jax.vmap(explain)(images, keys)


def tight_bound(model, params, images, success, key, number):
  """A bound of log p(x) by many importance-weighted roll-outs, the count summed out of each.

      log (1 / K) sum_i sum_k p(x, z_i, k) / q(z_i)      (Burda et al., ICLR 2016)

  Memory does not grow with K.

  Args:
    model: `air_jax.model.Model`.
    params: its parameters.
    images: [B, H, W, C] uint8.
    success: success probability of the prior of the count.
    key: consumed, for the roll-outs.
    number: K, of an image.

  Returns:
    [B] nats, as a NumPy array.
  """
  bounds = []
  hidden = not sys.stderr.isatty()
  with tqdm.tqdm(total=len(images), desc='bound', unit='image', disable=hidden) as bar:
    for batch, keys, size in _batches(images, key, _IMAGES):
      bound = _tight_bound(model, params, batch, success, keys, number)
      bounds.append(np.asarray(bound)[:size])
      bar.update(size)
  return np.concatenate(bounds)


def _batches(images, key, most):
  """Batches filled up with blank images to one size, a key for each image, how many are real."""
  for start in range(0, len(images), most):
    batch = images[start : start + most]
    padded = np.zeros((most, *images.shape[1:]), images.dtype)
    padded[: len(batch)] = batch
    yield padded, jax.random.split(jax.random.fold_in(key, start), most), len(batch)


@functools.partial(jax.jit, static_argnums=(0, 5))
def _tight_bound(model, params, images, success, keys, number):
  def bound(image, key):
    def add(total, i):
      own = i * _PARTICLES + jnp.arange(_PARTICLES)
      keys = jax.vmap(lambda j: jax.random.fold_in(key, j))(own)
      log_w = multi_sample.log_weights(jax.vmap(lambda key: terms(image, key))(keys))
      return jnp.logaddexp(total, jax.nn.logsumexp(log_w, where=own < number)), None

    chunks = jnp.arange(-(-number // _PARTICLES))
    return jax.lax.scan(add, -jnp.inf, chunks)[0] - jnp.log(number)

  def terms(image, key):
    rolled = air.rollout(model, params, image, air.draw_noise(model, key))
    return air.elbo_terms(model, params, image, rolled, success)

  return jax.vmap(bound)(images / 255.0, keys)


def summarise(evaluation, scenes, max_steps):
  """Sets what the model saw against the truth.

  Args:
    evaluation: `Evaluation` of the scenes.
    scenes: `LabelledScenes`.
    max_steps: T, most objects the model can find.

  Returns:
    dict ready for JSON: `images`, `elbo`, `nll`, `kl` (nats an image), `reconstruction_mse` (a
    pixel), `predicted_counts` (how many images of each); where true counts are known also
    `count_accuracy` with its 95 % interval, `accuracy_by_count` and `confusion` (rows true) over
    those images; where boxes are known `box_iou` (mean over true objects of the IoU with their
    matched predicted box, 0 where missed).
  """
  found = np.bincount(evaluation.counts, minlength=max_steps + 1)
  return (
    {'images': len(scenes.images)}
    | _count_summary(evaluation.counts, scenes.counts, max_steps)
    | {
      'predicted_counts': found.tolist(),
      'elbo': float(evaluation.elbo.mean()),
      'nll': float(evaluation.nll.mean()),
      'kl': float(evaluation.kl.mean()),
      'reconstruction_mse': float(evaluation.squared_error.mean()),
    }
    | ({'box_iou': float(matched_ious(evaluation, scenes).mean())} if scenes.boxes.shape[1] else {})
  )


def _count_summary(predicted, truth, max_steps):
  known = truth >= 0
  if not known.any():
    return {}
  truth, predicted = truth[known], predicted[known]
  correct = truth == predicted
  confusion = metrics.confusion_matrix(truth, predicted, int(truth.max()), max_steps)
  return {
    'count_accuracy': float(correct.mean()),
    'count_accuracy_interval': metrics.wilson_interval(int(correct.sum()), len(truth)),
    'accuracy_by_count': {str(n): float(correct[truth == n].mean()) for n in np.unique(truth)},
    'confusion': confusion.tolist(),
  }


def matched_ious(evaluation, scenes):
  """IoU of each true object's box with that of the predicted object it matches, 0 where missed.

  Args:
    evaluation: `Evaluation` of the scenes.
    scenes: `LabelledScenes` whose boxes are known.

  Returns:
    [M] in [0, 1], of the objects of all scenes.
  """
  matched = [
    metrics.matched_iou(true_boxes[:true], boxes[:predicted])
    for true_boxes, true, boxes, predicted in zip(
      scenes.boxes, scenes.counts, evaluation.boxes, evaluation.counts, strict=True
    )
    if true
  ]
  return np.concatenate(matched) if matched else np.zeros(1)


def held_out(learning, state, scenes, number=0):
  """Evaluates a state of training on test scenes.

  Args:
    learning: `Learner`.
    state: `TrainState`.
    scenes: `LabelledScenes` it was not trained on.
    number: of roll-outs for a tighter bound, which takes as many times as long; 0 has none.

  Returns:
    (`Evaluation`, summary as `summarise` gives it, with the `step`; with `window_size`, the middle
    of the prior on sizes as a share of the canvas, and `window_size_std`, its deviation in
    log-odds, where it was learned; and with `tight_bound` and its `particles` where one was asked
    for).
  """
  config = learning.config
  key = jax.random.key(config.seed)  # the same samples at every evaluation of a run
  evaluation = run(learning.model, state.average, scenes.images, config.objective.prior_end, key)
  summary = {'step': int(state.step)} | summarise(evaluation, scenes, config.model.max_steps)
  if config.model.learn_size_prior:
    where, _ = air.priors(learning.model, state.average)
    summary |= {'window_size': float(jax.nn.sigmoid(where.mean[0]))}
    summary |= {'window_size_std': float(where.std[0])}
  if number:
    bounds = tight_bound(
      learning.model,
      state.average,
      scenes.images,
      config.objective.prior_end,
      jax.random.fold_in(key, len(scenes.images)),
      number,
    )
    summary |= {'tight_bound': float(bounds.mean()), 'particles': number}
  return evaluation, summary


def posteriors(evaluation):
  """What the objects found are like, over all images, for histograms.

  Args:
    evaluation: `Evaluation`.

  Returns:
    dict of [...] arrays: `where/scale`, `where/x`, `where/y` of the windows, and `what/mean` and
    `what/std` of the codes' posteriors; codes whose deviation stays near 1 tell nothing.
  """
  steps = evaluation.windows.shape[1]
  present = np.arange(steps) < evaluation.counts[:, None]
  scale, x, y = evaluation.windows[present].T
  what = {f'what/{name}': each[present] for name, each in evaluation.what._asdict().items()}
  return {'where/scale': scale, 'where/x': x, 'where/y': y} | what


def scalars(summary):
  """The numbers among a summary's entries, for the logs."""
  return {name: v for name, v in summary.items() if isinstance(v, float)}


def table(summary):
  """A summary as text for the terminal."""
  lines = [f'held-out images      {summary["images"]:>10,}']
  if 'count_accuracy' in summary:
    low, high = summary['count_accuracy_interval']
    lines.append(
      f'count accuracy       {summary["count_accuracy"]:>10.2%}'
      f'   (95 % interval {low:.2%} .. {high:.2%})'
    )
  lines += [
    f'ELBO                 {summary["elbo"]:>10.1f}   nats',
    f'  reconstruction     {summary["nll"]:>10.1f}   nats (-log p(x | z))',
    f'  KL                 {summary["kl"]:>10.1f}   nats',
    f'reconstruction error {summary["reconstruction_mse"]:>10.5f}   mean square of a pixel',
  ]
  if 'tight_bound' in summary:
    lines.insert(
      -1, f'{summary["particles"]:>5}-sample bound   {summary["tight_bound"]:>10.1f}   nats'
    )
  if 'box_iou' in summary:
    lines.append(f'box IoU              {summary["box_iou"]:>10.3f}')
  if 'window_size' in summary:
    spread = f'of the canvas; its log-odds vary by {summary["window_size_std"]:.3f} (learned)'
    lines.append(f'window size          {summary["window_size"]:>10.3f}   {spread}')
  found = summary['predicted_counts']
  header = ''.join(f'{n:>8}' for n in range(len(found)))
  lines += ['', f'true count   accuracy   predicted{header}']
  for count, row in enumerate(summary.get('confusion', [])):
    accuracy = summary['accuracy_by_count'].get(str(count))
    shown = '       -' if accuracy is None else f'{accuracy:>8.2%}'
    lines.append(f'{count:>10}   {shown}   {"":9}' + ''.join(f'{n:>8,}' for n in row))
  if 'confusion' not in summary:
    lines.append(f'   unknown          -   {"":9}' + ''.join(f'{n:>8,}' for n in found))
  return '\n'.join(lines)


def write(summary, folder):
  """Keeps a summary in a run's folder, as evaluation.json."""
  (folder / 'evaluation.json').write_text(json.dumps(summary, indent=2) + '\n')


def read(folder):
  """The summary that `write` kept."""
  return json.loads((folder / 'evaluation.json').read_text())
