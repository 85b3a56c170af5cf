"""Evaluation on scenes the model was not trained on: arrays in, arrays and a summary out."""

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8, UInt16

from air_jax import objectives
from air_jax.evaluation import metrics, poses, segmentation
from air_jax.model import air
from air_jax.model import spatial_transformer as transformer
from air_jax.model.networks import Params
from air_jax.objectives import distributions
from air_jax.runtime import jit
from air_jax.types import LabelledScenes, Normal, Pose

_FOUND = 0.5  # box IoU from which an object counts as found
# Roll-outs at once; bounds memory.
_BATCH = 250  # of as many images
_PARTICLES = 10  # of each image
_IMAGES = 25


class Evaluation(NamedTuple):
  """What the model found in every image, as NumPy arrays."""

  counts: Int[np.ndarray, ' B']  # as `air.parse` counts
  windows: Float[np.ndarray, 'B T 3']  # (scale, x, y) of each inference step
  what: Normal  # [B, T, D] posterior of each object's code
  boxes: Float[
    Array, 'B T 4'
  ]  # around the ink of each object, (top, left, height, width) in pixels
  segments: UInt16[np.ndarray, 'B H W']  # found, as in `LabelledScenes`
  confidences: Float[np.ndarray, 'B T']  # probability that there are more than t objects
  squared_error: Float[np.ndarray, ' B']  # of the reconstruction, mean over pixels
  background_share: Float[np.ndarray, ' B']  # as `metrics.background_share`
  elbo: Float[np.ndarray, ' B']  # nats, one sample of z_where and z_what, the count summed out
  nll: Float[np.ndarray, ' B']  # nats, its reconstruction term
  kl: Float[np.ndarray, ' B']  # nats, the rest
  poses: Pose | None = None  # [B, T]; None where objects are no solids


def evaluate(
  model: air.Model, params: Params, scenes: LabelledScenes, seed: int, step: int, particles: int = 0
) -> tuple[Evaluation, dict[str, Any]]:
  """Evaluates a model on test scenes.

  Args:
    model: the model.
    params: its parameters.
    scenes: scenes it was not trained on.
    seed: of the samples behind the bounds: the same samples at every evaluation of a run.
    step: the training step of the parameters, for the summary.
    particles: samples of a tighter bound, which takes as many times as long; 0 for none.

  Returns:
    (evaluation, summary as `summarize` gives it with `step`; with `window_size`, the middle of the
    size prior as a fraction of the canvas, and `window_size_std`, its deviation in log-odds, where
    it was learned; with `likelihood_std`, the deviation of a pixel, where it was learned; with
    `background_share`, the mean over images, where there is a background; with `tight_bound` and
    its `particles` where one was asked for).
  """
  key, images = jax.random.key(seed), np.asarray(scenes.images)
  evaluation = explain_all(model, params, images, key)
  summary = {'step': step} | summarize(evaluation, scenes, model.spec.max_steps)
  if model.spec.learn_size_prior:
    where, _ = air.priors(model, params)
    summary |= {'window_size': float(air.window_size(model, params))}
    summary |= {'window_size_std': float(where.std[0])}
  if model.spec.background != 'black':
    summary |= {'background_share': float(evaluation.background_share.mean())}
  if model.spec.learn_likelihood_std:
    summary |= {'likelihood_std': float(air.numbers(model, params).likelihood_std)}
  if particles:
    key = jax.random.fold_in(key, len(images))
    bounds = tight_bound(model, params, images, key, particles)
    summary |= {'tight_bound': float(bounds.mean()), 'particles': particles}
  return evaluation, summary


def compile_ahead(model: air.Model, params: Any, images: UInt8[np.ndarray, 'B H W C']) -> None:
  """Compiles the program of `evaluate`, which then finds it; `params` may be shapes."""
  batch, keys, _ = next(_batches(np.asarray(images[:1]), jax.random.key(0), _BATCH))
  _explain.lower(model, params, batch, keys).compile()


def explain_all(
  model: air.Model, params: Params, images: UInt8[np.ndarray, 'B H W C'], key: PRNGKeyArray
) -> Evaluation:
  """Explains images one batch at a time. The key is consumed, for the sample behind the bound."""
  parts = []
  for batch, keys, size in _batches(images, key, _BATCH):
    evaluated = _explain(model, params, batch, keys)
    parts.append(jax.tree.map(lambda field, size=size: np.asarray(field)[:size], evaluated))
  return jax.tree.map(lambda *fields: np.concatenate(fields), *parts)


@jit.quick
def _explain(model, params, images, keys) -> Any:
  """The `Evaluation` of a batch."""

  def explain(image, key):
    image = image / 255.0
    latents, rolled = air.parse(model, params, image)
    reconstruction = rolled.canvases[latents.count]
    visible = model.compositing.visible(rolled.painted)
    share = jnp.zeros(())  # XLA takes long to find that out of a background that is constant
    if model.spec.background != 'black':
      share = metrics.background_share(rolled.canvases[0], rolled.additions, latents.count)
    log_posterior = air.count_log_posterior(model, params, image, rolled)
    sampled = air.rollout(model, params, image, air.sample_noise(model, key))
    terms = air.elbo_terms(model, params, image, sampled, model.spec.success)
    fields: dict[str, Any] = {
      'counts': latents.count,
      'windows': jax.vmap(transformer.place)(latents.z_where),
      'what': rolled.what,
      'boxes': metrics.ink_boxes(model.compositing.ink(rolled.painted)),
      'segments': metrics.ink_segments(visible, latents.count),
      'confidences': distributions.presence_probs(log_posterior),
      'squared_error': jnp.mean((image - reconstruction) ** 2),
      'background_share': share,
    }
    if pose := model.networks.pose:
      fields['poses'] = jax.vmap(pose)(latents.z_where, latents.z_what)
    return Evaluation(**fields | objectives.summary(terms))

  return jax.vmap(explain)(images, keys)


def tight_bound(
  model: air.Model,
  params: Params,
  images: UInt8[np.ndarray, 'B H W C'],
  key: PRNGKeyArray,
  particles: int,
) -> Float[np.ndarray, ' B']:
  """A bound of log p(x) by K importance-weighted roll-outs, the count summed out of each.

      log (1 / K) sum_i sum_k p(x, z_i, k) / q(z_i)      (Burda et al., ICLR 2016)

  In nats, for each image. Memory does not grow with K. The key is consumed.
  """
  bounds = []
  hidden = not sys.stderr.isatty()
  with tqdm.tqdm(total=len(images), desc='bound', unit='image', disable=hidden) as bar:
    for batch, keys, size in _batches(images, key, _IMAGES):
      bounds.append(np.asarray(_tight_bound(model, params, batch, keys, particles))[:size])
      bar.update(size)
  return np.concatenate(bounds)


def _batches(images, key, most) -> Iterator[tuple[np.ndarray, Array, int]]:
  """Batches padded with blank images to one size, a key for each image, how many are real."""
  for start in range(0, len(images), most):
    batch = images[start : start + most]
    padded = np.zeros((most, *images.shape[1:]), images.dtype)
    padded[: len(batch)] = batch
    yield padded, jax.random.split(jax.random.fold_in(key, start), most), len(batch)


@jit.quick(static_argnames='particles')
def _tight_bound(model, params, images, keys, particles):
  def bound(image, key):
    def add(total, i):
      own = i * _PARTICLES + jnp.arange(_PARTICLES)
      keys = jax.vmap(lambda j: jax.random.fold_in(key, j))(own)
      log_w = objectives.log_weights(jax.vmap(lambda key: terms(image, key))(keys))
      return jnp.logaddexp(total, jax.nn.logsumexp(log_w, where=own < particles)), None

    chunks = jnp.arange(-(-particles // _PARTICLES))
    return jax.lax.scan(add, -jnp.inf, chunks)[0] - jnp.log(particles)

  def terms(image, key):
    rolled = air.rollout(model, params, image, air.sample_noise(model, key))
    return air.elbo_terms(model, params, image, rolled, model.spec.success)

  return jax.vmap(bound)(images / 255.0, keys)


def summarize(evaluation: Evaluation, scenes: LabelledScenes, max_steps: int) -> dict[str, Any]:
  """Compares what the model found with the truth.

  Args:
    evaluation: of the scenes.
    scenes: with the truth.
    max_steps: T, most objects the model can find.

  Returns:
    dict ready for JSON: `images`, `elbo`, `nll`, `kl` (nats an image), `reconstruction_mse` (a
    pixel), `predicted_counts` (how many images of each); where true counts are known also
    `count_accuracy` with its 95 % interval, `count_calibration_error` (of `count_calibration`),
    `accuracy_by_count` and `confusion` (rows true) over those images; where boxes are known
    `box_iou` (mean over true objects of the IoU with their matched predicted box, 0 where missed)
    and `box_f1` (`metrics.f1` of objects found with an IoU of at least 0.5); where segments are
    known the entries of `segmentation.summary`; of solids on a table those of `poses.summary`.
  """
  found = np.bincount(evaluation.counts, minlength=max_steps + 1)
  summary: dict[str, Any] = {'images': len(scenes.images)}
  summary |= _count_summary(evaluation, np.asarray(scenes.counts), max_steps)
  summary |= {
    'predicted_counts': found.tolist(),
    'elbo': float(evaluation.elbo.mean()),
    'nll': float(evaluation.nll.mean()),
    'kl': float(evaluation.kl.mean()),
    'reconstruction_mse': float(evaluation.squared_error.mean()),
  }
  if scenes.boxes.shape[1]:
    ious = matched_ious(evaluation, scenes)
    true, predicted = int(np.sum(scenes.counts)), int(np.sum(evaluation.counts))
    summary['box_iou'] = float(ious.mean())
    summary['box_f1'] = metrics.f1(int((ious >= _FOUND).sum()), true, predicted)
  if scenes.segments.size:
    present = np.arange(max_steps) < evaluation.counts[:, None]
    confidences = np.where(present, evaluation.confidences, -np.inf)
    summary |= segmentation.summary(segment_tables(evaluation, scenes), confidences)
  if evaluation.poses:
    summary |= poses.summary(evaluation.poses, evaluation.counts, scenes)
  return summary


def _count_summary(evaluation, truth, max_steps):
  known = truth >= 0
  if not known.any():
    return {}
  calibration = count_calibration(evaluation, truth)
  truth, predicted = truth[known], np.asarray(evaluation.counts)[known]
  correct = truth == predicted
  confusion = metrics.confusion_matrix(truth, predicted, int(truth.max()), max_steps)
  return {
    'count_accuracy': float(correct.mean()),
    'count_accuracy_interval': [*metrics.wilson_interval(int(correct.sum()), len(truth))],
    'count_calibration_error': metrics.calibration_error(calibration),
    'accuracy_by_count': {str(n): float(correct[truth == n].mean()) for n in np.unique(truth)},
    'confusion': confusion.tolist(),
  }


def count_calibration(evaluation: Evaluation, truth: Int[np.ndarray, ' B']) -> metrics.Calibration:
  """How often a count is right, by its probability under the posterior that `model.count_by` names.

  Args:
    evaluation: of the scenes.
    truth: true counts, -1 where not known; those are left out.
  """
  number = len(evaluation.counts)
  more = np.c_[np.ones(number), evaluation.confidences, np.zeros(number)]  # P(n >= k)
  probs = np.take_along_axis(more[:, :-1] - more[:, 1:], evaluation.counts[:, None], 1)[:, 0]
  known = truth >= 0
  correct = evaluation.counts == truth
  return metrics.calibration(np.clip(probs, 0, 1)[known], correct[known])


def matched_ious(evaluation: Evaluation, scenes: LabelledScenes) -> Float[np.ndarray, ' M']:
  """IoU in [0, 1] of each true object's box with that of its matched object, 0 where missed."""
  matched = [
    metrics.matched_iou(true_boxes[:true], boxes[:predicted])
    for true_boxes, true, boxes, predicted in zip(
      scenes.boxes, scenes.counts, evaluation.boxes, evaluation.counts, strict=True
    )
    if true
  ]
  return np.concatenate(matched) if matched else np.zeros(1)


def segment_tables(evaluation: Evaluation, scenes: LabelledScenes) -> Int[np.ndarray, 'B N+1 T+1']:
  """Numbers of pixels by true and found segment, as `segmentation.contingency` gives them."""
  number, steps = evaluation.confidences.shape
  truth, found = (np.reshape(of.segments, (number, -1)) for of in (scenes, evaluation))
  return segmentation.contingency(truth, found, scenes.boxes.shape[1], steps)


def posteriors(evaluation: Evaluation) -> dict[str, np.ndarray]:
  """Statistics of the objects found, over all images, for histograms.

  Returns:
    `where/scale`, `where/x`, `where/y` of the windows, and `what/mean` and `what/std` of the codes'
    posteriors; codes whose deviation stays near 1 carry no information.
  """
  steps = evaluation.windows.shape[1]
  present = np.arange(steps) < evaluation.counts[:, None]
  scale, x, y = evaluation.windows[present].T
  what = {f'what/{name}': each[present] for name, each in evaluation.what._asdict().items()}
  return {'where/scale': scale, 'where/x': x, 'where/y': y} | what


def scalars(summary: dict[str, Any]) -> dict[str, float]:
  """The numbers among a summary's entries, for the logs."""
  return {name: value for name, value in summary.items() if isinstance(value, float)}
