"""The benchmark of how useful codes are: its questions, its readers, its table."""

import itertools

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

import air_jax
from air_jax.configs import tiny
from air_jax.errors import UserError
from air_jax.types import Normal
from benchmarks import downstream, readers

SUM, ASCENDING = readers.TASKS


def pairs(number, seed, noise=0.1):
  """Scenes with one-hot digits as codes, and images that are bright if the digits ascend."""
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


@pytest.mark.parametrize('task', readers.TASKS)
def test_digit_by_digit_sums_over_all_pairs_of_digits(task):
  network = readers.DigitByDigit(task, 0.0)
  codes = pairs(3, 0).codes.mean
  params = network.init(jax.random.key(0), codes, False)['params']
  hidden = codes[..., 3:]
  for i in range(2):
    layer = params[f'Dense_{i}']
    hidden = np.maximum(hidden @ layer['kernel'] + layer['bias'], 0.0)
  logits = hidden @ params['Dense_2']['kernel'] + params['Dense_2']['bias']
  probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  expected = np.zeros((3, readers.TASKS[task]))
  for left, right in itertools.product(range(10), repeat=2):
    k = left + right if task == SUM else int(left < right)
    expected[:, k] += probs[:, 0, left] * probs[:, 1, right]
  found = np.exp(network.apply({'params': params}, codes, False))
  np.testing.assert_allclose(found, expected, atol=1e-6)
  np.testing.assert_allclose(found.sum(-1), 1.0, atol=1e-5)


@pytest.mark.parametrize(
  ('reader', 'task', 'steps', 'least'),
  [
    ('digit_by_digit', SUM, 300, 0.95), ('codes', ASCENDING, 300, 0.9),
    ('pixels', ASCENDING, 50, 0.95),
  ],
)  # fmt: skip
def test_readers_learn_what_their_inputs_tell(reader, task, steps, least):
  network = readers.NETWORKS[reader](task, 0.2)
  found = readers.fit(network, 3e-3, steps, pairs(200, 0), pairs(50, 1), 0)
  accuracy, log_prob = found.evaluate(pairs(1000, 2))
  assert accuracy >= least and np.log(1 / readers.TASKS[task]) < log_prob <= 0.0


def test_pixels_are_shifted_and_codes_sampled():
  scenes = pairs(400, 0)
  images = readers._changed(readers.Pixels(ASCENDING, 0.0), scenes, jax.random.key(0))
  assert images.shape == scenes.images.shape
  shifted = np.asarray(images)[:, 0, :, 0] == 0  # rows from beyond the image
  np.testing.assert_allclose(shifted.all(-1).mean(), 3 / 7, atol=0.1)
  codes = readers._changed(readers.Codes(ASCENDING, 0.0), scenes, jax.random.key(0))
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


def test_places_are_the_middles_of_the_first_two_boxes():
  boxes = np.array([[[0, 10, 5, 4], [3, 2, 5, 8], [0, 0, 9, 9]]])
  np.testing.assert_array_equal(downstream._middles(boxes), [[12, 6]])


def test_a_folder_serves_one_run_of_digits(tmp_path, monkeypatch):
  config = tiny.get_config()
  config.train.steps = 1
  sprites = tiny.get_config()
  sprites.data.source, sprites.train.steps = 'sprites', 1
  air_jax.train(config, tmp_path / 'run', figures=False, progress=False)
  air_jax.train(sprites, tmp_path / 'sprites', figures=False, progress=False)
  for name in ('_TRAIN_SCENES', '_TEST_SCENES'):
    monkeypatch.setattr(downstream, name, 16)
  flags.FLAGS.mark_as_parsed()
  with flagsaver.flagsaver(run=str(tmp_path / 'run'), folder=str(tmp_path / 'readers')):
    downstream._parse_scenes()
    downstream._parse_scenes()  # which finds them
    found = downstream._read('test')
    assert found.images.shape == (16, 50, 50, 1) and found.codes.mean.shape == (16, 2, 7)
    assert ((0 <= found.digits) & (found.digits <= 9)).all()
    (tmp_path / 'run').rename(tmp_path / 'other')
    with (
      flagsaver.flagsaver(run=str(tmp_path / 'other')),
      pytest.raises(UserError, match='take another --folder'),
    ):
      downstream._parse_scenes()
    with (
      flagsaver.flagsaver(run=str(tmp_path / 'sprites')),
      pytest.raises(UserError, match="was trained on 'sprites'; it must be one of digits, mnist"),
    ):
      downstream._parse_scenes()
