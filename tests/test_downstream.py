"""The benchmark of what codes are worth: its questions, its readers, its table."""

import itertools

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from air_jax.errors import UserError
from air_jax.types import Normal
from benchmarks import downstream, readers

SUM, ASCENDING = readers.TASKS['sum'], readers.TASKS['ascending']


def pairs(number, seed, noise=0.1):
  """Scenes whose codes hold the digit, and whose images are bright where they ascend."""
  rng = np.random.default_rng(seed)
  digits = rng.integers(10, size=(number, 2))
  codes = np.concatenate([rng.normal(size=(number, 2, 3)), np.eye(10)[digits]], -1)
  std = np.full(codes.shape, noise, np.float32)
  level = np.where(digits[:, 0] < digits[:, 1], 200, 50).astype(np.uint8)
  images = np.broadcast_to(level[:, None, None, None], (number, 16, 16, 1))
  return readers.Pairs(images, Normal(codes.astype(np.float32), std), digits)


def test_answers():
  digits = np.array([[3, 4], [4, 3], [9, 9], [0, 0]])
  assert list(readers.answer(digits, SUM)) == [7, 7, 18, 0]
  assert list(readers.answer(digits, ASCENDING)) == [1, 0, 0, 0]


@pytest.mark.parametrize('classes', [SUM, ASCENDING])
def test_digit_by_digit_sums_over_all_pairs_of_digits(classes):
  network = readers.DigitByDigit(classes, 0.0)
  codes = pairs(3, 0).codes.mean
  params = network.init(jax.random.key(0), codes, False)['params']
  hidden = codes[..., 3:]
  for i in range(2):
    layer = params[f'Dense_{i}']
    hidden = np.maximum(hidden @ layer['kernel'] + layer['bias'], 0.0)
  logits = hidden @ params['Dense_2']['kernel'] + params['Dense_2']['bias']
  probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  expected = np.zeros((3, classes))
  for left, right in itertools.product(range(10), repeat=2):
    k = left + right if classes == SUM else int(left < right)
    expected[:, k] += probs[:, 0, left] * probs[:, 1, right]
  found = np.exp(network.apply({'params': params}, codes, False))
  np.testing.assert_allclose(found, expected, atol=1e-6)
  np.testing.assert_allclose(found.sum(-1), 1.0, atol=1e-5)


@pytest.mark.parametrize(
  ('reader', 'classes', 'steps', 'least'),
  [
    ('digit_by_digit', SUM, 300, 0.95), ('codes', ASCENDING, 300, 0.9),
    ('pixels', ASCENDING, 50, 0.95),
  ],
)  # fmt: skip
def test_readers_learn_what_their_inputs_tell(reader, classes, steps, least):
  network = readers.NETWORKS[reader](classes, 0.2)
  found = readers.fit(network, 3e-3, steps, pairs(200, 0), pairs(50, 1), 0)
  accuracy, log_prob = found.evaluate(pairs(1000, 2))
  assert accuracy >= least and np.log(1 / classes) < log_prob <= 0.0


def test_pixels_are_shifted_and_codes_sampled():
  scenes = pairs(400, 0)
  images = readers._changed(readers.Pixels(2, 0.0), scenes, jax.random.key(0))
  assert images.shape == scenes.images.shape
  shifted = np.asarray(images)[:, 0, :, 0] == 0  # rows from beyond the image
  np.testing.assert_allclose(shifted.all(-1).mean(), 3 / 7, atol=0.1)
  codes = readers._changed(readers.Codes(2, 0.0), scenes, jax.random.key(0))
  np.testing.assert_allclose(np.std(codes - scenes.codes.mean), 0.1, rtol=0.05)


def run(reader, labels, seed, accuracy, task='sum'):
  return {'task': task, 'reader': reader, 'labels': labels, 'seed': seed, 'accuracy': accuracy}


def test_table_has_means_and_ranges_and_the_figure_a_panel_for_each_task():
  runs = [run('codes', 64, 0, 0.2), run('codes', 64, 1, 0.4), run('pixels', 1000, 0, 0.5)]
  rows = downstream.table(runs).splitlines()
  assert rows[0] == '| task | reader | 64 labels | 1,000 labels |'
  assert rows[2:] == [
    '| sum | `codes` | 30.0 (20.0-40.0) | - |',
    '| sum | `pixels` | - | 50.0 (50.0-50.0) |',
  ]
  first, second = downstream.curves([*runs, run('codes', 64, 0, 0.9, 'ascending')]).axes
  assert len(first.lines) == 2 and len(second.lines) == 1
  np.testing.assert_allclose(first.lines[0].get_ydata(), [30.0])


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    ({'readers': ['eyes']}, "--readers: 'eyes' is none of"),
    ({'labels': ['5']}, "--labels: '5' is no integer in 10"),
    ({'labels': ['many']}, "--labels: 'many' is no integer in 10"),
    ({}, '--run is missing'),
  ],
)
def test_bad_flags_are_refused(given, message):
  flags.FLAGS.mark_as_parsed()
  with flagsaver.flagsaver(**given), pytest.raises(UserError, match=message):
    downstream.main.__wrapped__([])
