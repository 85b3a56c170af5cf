"""Evaluation against the roll-outs it stands for; its summary, also where truth is not known."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import run_folder
import samples

from air_jax.evaluation import held_out, metrics, tables
from air_jax.inference import restore
from air_jax.model import air
from air_jax.model import spatial_transformer as transformer
from air_jax.storage import run_dir
from air_jax.types import LabelledScenes, Normal


def test_evaluation_holds_the_figures_of_the_last_step(finished_run):
  summary = json.loads((finished_run / 'evaluation.json').read_text())
  confusion = np.array(summary['confusion'])
  assert confusion.shape == (3, 4) and confusion.sum() == summary['images'] == 64
  assert summary['count_accuracy'] == np.trace(confusion) / 64
  low, high = summary['count_accuracy_interval']
  assert 0 <= low <= summary['count_accuracy'] <= high < 1
  assert 0 <= summary['box_iou'] <= 1
  assert summary['predicted_counts'] == confusion.sum(0).tolist()
  assert summary['step'] == 20
  last = run_folder.lines_of(finished_run, 'test')[-1]
  for name in ('count_accuracy', 'elbo', 'nll', 'kl', 'box_iou', 'reconstruction_mse'):
    assert last[name] == summary[name]


def test_boxes_are_around_what_is_painted_whatever_its_colour_and_background(model):
  model = samples.changed(model, background='constant', channels=3)
  params = air.init(model, jax.random.key(0))
  params['background_image'] += 4.0  # bright enough to be ink
  decoder = params['glimpse_decoder']['output']
  decoder['bias'] = jnp.tile(jnp.array([-9.0, 2.0, -9.0]), 8 * 8)
  images = np.random.default_rng(0).integers(0, 256, (2, 50, 50, 3), np.uint8)
  evaluation = held_out.explain_all(model, params, images, jax.random.key(1))
  for b, image in enumerate(images / np.float32(255)):
    latents, rolled = jax.jit(air.parse)(model, params, image)
    windows = jax.vmap(transformer.place)(latents.z_where)
    painted = [
      transformer.paint(glimpse, window, 50).max(-1)
      for glimpse, window in zip(rolled.glimpses, windows, strict=True)
    ]
    boxes = metrics.ink_boxes(painted)
    assert (boxes[:, 2:] < 40).all() and (boxes[:, 2:] > 10).all()
    np.testing.assert_array_equal(evaluation.boxes[b], boxes)
    np.testing.assert_allclose(evaluation.windows[b], windows, rtol=1e-4)
    for ours, theirs in zip(evaluation.what, rolled.what, strict=True):
      np.testing.assert_allclose(ours[b], theirs, rtol=1e-4, atol=1e-6)
    assert evaluation.counts[b] == latents.count == 3
    brightest = np.argmax([np.full((50, 50), 0.25), *painted], 0)
    np.testing.assert_array_equal(evaluation.segments[b], brightest)
    probabilities = np.exp(air.count_log_posterior(model, params, image, rolled))
    more = [probabilities[t + 1 :].sum() for t in range(3)]
    np.testing.assert_allclose(evaluation.confidences[b], more, rtol=1e-4)
    error = np.mean((image - rolled.canvases[3]) ** 2)
    np.testing.assert_allclose(evaluation.squared_error[b], error, rtol=1e-4)


def test_tight_bound_is_the_log_mean_of_the_weights_of_so_many_roll_outs(model, params):
  images = np.random.default_rng(0).integers(0, 256, (27, 50, 50, 1), np.uint8)  # two batches
  key, model = jax.random.key(3), samples.changed(model, success=0.2)
  bounds = held_out.tight_bound(model, params, images, key, 13)
  assert bounds.shape == (27,)

  @jax.jit
  def log_weight(image, key):
    rolled = air.rollout(model, params, image, air.sample_noise(model, key))
    terms = air.elbo_terms(model, params, image, rolled, 0.2)
    return jax.nn.logsumexp(terms.log_p - terms.nll - terms.log_ratio)

  for b in (0, 26):
    start = 25 * (b // 25)
    own = jax.random.split(jax.random.fold_in(key, start), 25)[b - start]
    weights = [log_weight(images[b] / 255, jax.random.fold_in(own, i)) for i in range(13)]
    expected = jax.nn.logsumexp(jnp.array(weights)) - np.log(13)
    np.testing.assert_allclose(bounds[b], expected, rtol=1e-5)
  single = held_out.tight_bound(model, params, images, key, 1)
  assert single.mean() < bounds.mean()


UNKNOWN = np.zeros((4, 0, 0), np.uint16)


def _segments(counts):
  """Label images of 9x9 pixels with the first of the boxes (0, 0, 4, 4) and (8, 8, 4, 4)."""
  found = np.zeros((4, 9, 9), np.uint16)
  for segments, count in zip(found, counts, strict=True):
    segments[:4, :4] = count > 0
    segments[8, 8] = 2 * (count > 1)
  return found


def _summarise(counts, boxes, predicted=(0, 2, 1, 2), segments=UNKNOWN):
  """The summary of four scenes, in which steps find the boxes (0, 0, 4, 4) and (8, 8, 4, 4)."""
  value = np.array([1.0, 2.0, 3.0, 6.0])
  found = np.tile([(0, 0, 4, 4), (8, 8, 4, 4), (9, 9, 9, 9)], (4, 1, 1))
  evaluation = held_out.Evaluation(
    counts=np.array(predicted),
    windows=None,
    what=None,
    boxes=found,
    segments=_segments(predicted),
    confidences=np.tile([0.9, 0.8, 0.1], (4, 1)),
    squared_error=value,
    background_share=None,
    elbo=-value,
    nll=value / 4,
    kl=value / 2,
  )
  scenes = LabelledScenes(
    np.zeros((4, 9, 9, 1), np.uint8), np.array(counts), boxes, None, None, None, segments, None
  )
  return held_out.summarize(evaluation, scenes, 3)


def _rows(summary):
  return [line.split() for line in tables.table(summary).splitlines()]


def test_summary_where_everything_is_known():
  boxes = np.zeros((4, 2, 4), np.float32)
  boxes[1] = (8, 8, 4, 2), (0, 0, 4, 4)  # half a box, a whole one
  boxes[2, 0] = boxes[3, 0] = (0, 0, 4, 4)
  summary = _summarise([0, 2, 1, 1], boxes)
  interval = [*metrics.wilson_interval(3, 4)]
  assert summary == {
    'images': 4,
    'count_accuracy': 0.75,
    'count_accuracy_interval': interval,
    'count_calibration_error': pytest.approx((2 * abs(1 - 0.1) + 2 * abs(1 / 2 - 0.7)) / 4),
    'accuracy_by_count': {'0': 1.0, '1': 0.5, '2': 1.0},
    'confusion': [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]],
    'predicted_counts': [1, 1, 2, 0],
    'elbo': -3.0,
    'nll': 0.75,
    'kl': 1.5,
    'reconstruction_mse': 3.0,
    'box_iou': 3.5 / 4,
    'box_f1': 8 / 9,  # all 4 true ones are found, by 4 of 5
  }
  rows = _rows(summary)
  assert ['count', 'accuracy', '75.00%'] in [row[:3] for row in rows]
  assert ['calibration', 'error', '55.00%'] in [row[:3] for row in rows]
  assert ['box', 'IoU', '0.875'] in rows
  assert ['1', '50.00%', '0', '1', '1', '0'] in rows
  assert ['100-sample', 'bound', '-2.5', 'nats'] in _rows(
    summary | {'tight_bound': -2.5, 'particles': 100}
  )


def test_summary_of_scenes_whose_segments_are_known():
  boxes = np.zeros((4, 2, 4), np.float32)
  summary = _summarise([0, 2, 1, 1], boxes, segments=_segments([0, 2, 1, 1]))
  assert summary['ari_fg'] == summary['mask_iou'] == 1.0
  assert 0.9 < summary['ari'] < 1.0  # the last scene has an object too many
  assert summary['ap_50'] == summary['ap'] == 1.0  # which is the least certain, and comes last
  missed = _summarise([0, 2, 2, 1], boxes, segments=_segments([0, 2, 2, 1]))
  assert missed['mask_iou'] == 4 / 5 and missed['ap_50'] == pytest.approx(81 / 101)
  rows = _rows(missed)
  assert ['mask', 'IoU', '0.800'] in rows
  assert ['average', 'precision'] in [row[:2] for row in rows]


def test_errors_of_solids_are_shown():
  summary = _summarise(4 * [-1], np.zeros((4, 0, 4), np.float32))
  errors = {'kind_accuracy': 0.975, 'place_error': 0.0123, 'rotation_error': 4.5}
  rows = [row[:3] for row in _rows(summary | errors)]
  assert ['kind', '97.50%', 'of'] in rows
  assert ['place', 'error', '0.0123'] in rows and ['rotation', 'error', '4.50'] in rows


def test_summary_of_images_without_counts_or_boxes_tells_what_was_found():
  summary = _summarise(4 * [-1], np.zeros((4, 0, 4), np.float32))
  names = {'images', 'predicted_counts', 'elbo', 'nll', 'kl', 'reconstruction_mse'}
  assert summary.keys() == names
  assert summary['predicted_counts'] == [1, 1, 2, 0] and summary['elbo'] == -3.0
  assert held_out.scalars(summary).keys() == names - {'images', 'predicted_counts'}
  rows = _rows(summary)
  assert rows[-1] == ['unknown', '-', '1', '1', '2', '0']
  assert not {'IoU', 'interval'} & {word for row in rows for word in row}
  json.dumps(summary)


def test_accuracy_is_over_the_images_whose_count_is_known():
  summary = _summarise([0, -1, 2, -1], np.zeros((4, 0, 4), np.float32))
  assert summary['images'] == 4 and summary['predicted_counts'] == [1, 1, 2, 0]
  assert summary['count_accuracy'] == 0.5
  # Of the images 0 (found 0, p = 0.1, right) and 2 (found 1, p = 0.1, wrong).
  assert summary['count_calibration_error'] == pytest.approx(abs(1 / 2 - 0.1))
  assert summary['count_accuracy_interval'] == [*metrics.wilson_interval(1, 2)]
  assert summary['accuracy_by_count'] == {'0': 1.0, '2': 0.0}
  assert summary['confusion'] == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
  rows = _rows(summary)
  assert ['1', '-', '0', '0', '0', '0'] in rows and 'unknown' not in [row[0] for row in rows if row]
  assert 'box_iou' not in summary


def test_a_learned_prior_on_sizes_is_told(finished_run):
  model = restore.load(finished_run)
  where, _ = air.priors(model.model, model.params)
  summary = run_dir.read_evaluation(finished_run)
  size = summary['window_size']
  assert np.log(size / (1 - size)) == pytest.approx(float(where.mean[0]), rel=1e-5)
  assert summary['window_size_std'] == pytest.approx(float(where.std[0]), rel=1e-5)
  assert f'{size:.3f}   of the canvas' in tables.table(summary)


def test_posteriors_are_those_of_what_is_present_alone():
  windows = np.arange(2 * 3 * 3.0).reshape(2, 3, 3)
  what = Normal(windows[..., :2] + 100, windows[..., :2] + 200)
  evaluation = held_out.Evaluation(np.array([1, 2]), windows, what, *8 * [None])
  found = held_out.posteriors(evaluation)
  assert {name: each.ravel().tolist() for name, each in found.items()} == {
    'where/scale': [0, 9, 12],
    'where/x': [1, 10, 13],
    'where/y': [2, 11, 14],
    'what/mean': [100, 101, 109, 110, 112, 113],
    'what/std': [200, 201, 209, 210, 212, 213],
  }


@pytest.mark.parametrize('predicted', (0, 3))
def test_box_iou_without_a_true_object_is_zero(predicted):
  summary = _summarise(4 * [0], np.zeros((4, 2, 4), np.float32), 4 * [predicted])
  assert summary['box_iou'] == 0.0
