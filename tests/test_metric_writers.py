"""metrics.jsonl and TensorBoard events: a record of all that is reported, and none twice."""

import contextlib
import dataclasses
import errno
import io
import json
import logging
import os
import sys
import threading

import numpy as np
import pytest
import run_folder
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from air_jax.callbacks import FigureRecord, MetricsRecord
from air_jax.config import schema as config_lib
from air_jax.configs import tiny
from air_jax.data import loading
from air_jax.errors import UserError
from air_jax.evaluation import held_out
from air_jax.inference import restore
from air_jax.storage import metric_writers
from air_jax.storage.metric_writers import JsonlWriter, TensorBoardWriter
from air_jax.training import population, train_step


@contextlib.contextmanager
def started(writer, step=0, members=1):
  """A writer while a run, or a population, trains on from a step."""
  config = config_lib.parse(tiny.get_config())
  train = dataclasses.replace(config.train, population=members)
  writer.on_start(step, dataclasses.replace(config, train=train))
  yield writer
  writer.on_end(None)


POSTERIORS = 'where/scale', 'where/x', 'where/y', 'what/mean', 'what/std'


def test_metrics_have_a_line_for_every_chunk_and_evaluation(finished_run):
  lines = run_folder.lines_of(finished_run)
  assert [(line['step'], line['split']) for line in lines] == [
    (5, 'train'), (10, 'train'), (10, 'test'), (15, 'train'), (20, 'train'), (20, 'test'),
  ]  # fmt: skip
  for line in lines:
    assert 0 <= line['count_accuracy'] <= 1
    assert line['elbo'] == pytest.approx(-line['nll'] - line['kl'], abs=1e-2)
    assert line['kl'] > 0
  assert all(line['grad_norm'] > 0 for line in lines if line['split'] == 'train')


def test_metrics_of_a_chunk_are_means_over_its_steps(run_config, finished_run):
  parsed = config_lib.parse(run_config)
  members = population.build(parsed)
  source = loading.batch_source(parsed.data, parsed.train.batch_size)
  states = population.init(members)
  for start, line in zip((0, 5), run_folder.lines_of(finished_run, 'train'), strict=False):
    states, reports = population.advance(train_step.train_step, members, source, states, start, 5)
    for name, values in reports.items():
      assert line[name] == pytest.approx(float(np.mean(values)), rel=1e-5)


def test_tensorboard_shows_the_same_scalars_and_the_pictures(finished_run):
  events, scalars, written = run_folder.read_events(finished_run)
  assert scalars == pytest.approx(written, rel=1e-6)
  assert set(events.Tags()['images']) == run_folder.PICTURES
  for name in run_folder.PICTURES:
    images = events.Images(name)
    assert [image.step for image in images] == [10, 20]
    with Image.open(finished_run / 'figures' / f'{name}.png') as file:
      assert (images[-1].width, images[-1].height) == file.size


def test_tensorboard_shows_how_posteriors_are_spread(finished_run):
  events, *_ = run_folder.read_events(finished_run)
  names = {f'posterior/{name}' for name in POSTERIORS}
  assert set(events.Tags()['histograms']) == names
  model = restore.load(finished_run)
  scenes = loading.load(model.config.data, 'test')
  evaluation, _ = held_out.evaluate(
    model.model, model.params, scenes, model.config.seed, model.step
  )
  for name, values in held_out.posteriors(evaluation).items():
    first, last = events.Histograms(f'posterior/{name}')
    assert (first.step, last.step) == (10, 20)
    shown = last.histogram_value
    assert shown.num == values.size and shown.sum == pytest.approx(values.sum(), rel=1e-3)
    assert sum(shown.bucket) == values.size
    assert (shown.min, shown.max) == pytest.approx((values.min(), values.max()), rel=1e-4)


def test_histograms_leave_out_what_is_not_there_or_not_finite(tmp_path):
  with started(TensorBoardWriter(tmp_path)) as writer:
    values = {'none': np.zeros(0), 'some': np.array([1.0, np.nan, 3.0, np.inf])}
    writer.on_histograms(5, None, values)
  events = EventAccumulator(str(tmp_path / 'tensorboard')).Reload()
  assert events.Tags()['histograms'] == ['posterior/some']
  (shown,) = events.Histograms('posterior/some')
  assert (shown.histogram_value.num, shown.histogram_value.sum) == (2, 4)


def _hparams(folder):
  """TensorBoard's table of runs: hyperparameters of the run, names of its metrics."""
  events = EventAccumulator(str(folder / 'tensorboard')).Reload()
  content = {
    tag: plugin_data_pb2.HParamsPluginData.FromString(text)
    for tag, text in events.PluginTagToContent('hparams').items()
  }
  given = content['_hparams_/session_start_info'].session_start_info.hparams
  metrics = content['_hparams_/experiment'].experiment.metric_infos
  values = {key: getattr(x, x.WhichOneof('kind')) for key, x in given.items()}
  return values, [metric.name.tag for metric in metrics], events.Tags()['scalars']


def test_tensorboard_compares_runs_by_their_configurations(finished_run, run_config):
  given, metrics, scalars = _hparams(finished_run)
  config = config_lib.flatten(run_config) | {'model.background_code_size': 0}  # there is none
  assert given.keys() == {key for key in config if not key.startswith('members.')}
  for key, value in given.items():
    expected = str(config[key]) if isinstance(config[key], tuple) else config[key]
    assert value == pytest.approx(expected) if isinstance(value, float) else value == expected, key
  assert metrics == ['test/count_accuracy', 'test/elbo', 'test/box_iou']
  assert set(metrics) <= set(scalars)


def test_the_table_of_runs_has_the_latest_configuration(tmp_path):
  with started(TensorBoardWriter(tmp_path)) as writer:
    for steps in (10, 20):
      writer.on_hparams(steps, None, {'train.steps': steps, 'sizes': (1, 2)}, ['test/elbo'])
  given, metrics, _ = _hparams(tmp_path)
  assert given == {'train.steps': 20, 'sizes': '(1, 2)'} and metrics == ['test/elbo']


def test_figures_are_shown_as_they_were_written_and_animations_are_not(tmp_path):
  for mode, channels in (('L', 1), ('RGB', 3)):
    Image.new(mode, (7, 5)).save(tmp_path / f'{mode}.png')
    with started(TensorBoardWriter(tmp_path / mode)) as writer:
      for name in (f'{mode}.png', 'learning.gif'):
        writer.on_figure(FigureRecord(10, None, 'shown', tmp_path / name))
    events = EventAccumulator(str(tmp_path / mode / 'tensorboard')).Reload()
    (image,) = events.Images('shown')
    assert (image.step, image.width, image.height) == (10, 7, 5)
    with Image.open(io.BytesIO(image.encoded_image_string)) as shown:
      assert len(shown.getbands()) == channels
    assert image.encoded_image_string == (tmp_path / f'{mode}.png').read_bytes()


@pytest.mark.parametrize('writer_class', [JsonlWriter, TensorBoardWriter])
def test_one_writer_serves_a_population_and_its_members(tmp_path, writer_class):
  with started(writer_class(tmp_path), members=2) as writer:
    for member in (None, 0, 1):
      writer.on_metrics(MetricsRecord(5, 'train', member, {'elbo': 2.0 * (member or 0) - 1}))
  folders = tmp_path, tmp_path / 'members' / '000', tmp_path / 'members' / '001'
  for folder, elbo in zip(folders, (-1.0, -1.0, 1.0), strict=True):
    if writer_class is JsonlWriter:
      assert run_folder.lines_of(folder) == [{'step': 5, 'split': 'train', 'elbo': elbo}]
    else:
      events = EventAccumulator(str(folder / 'tensorboard')).Reload()
      assert [(e.step, e.value) for e in events.Scalars('train/elbo')] == [(5, elbo)]


def test_without_tensorboardx_its_extra_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  with pytest.raises(UserError, match=r"needs tensorboardX, which .* 'air_jax\[plots\]'"):
    TensorBoardWriter(tmp_path).on_start(0, config_lib.parse(tiny.get_config()))


def test_metrics_file_survives_a_line_cut_short_and_drops_what_comes_later(tmp_path, caplog):
  with started(JsonlWriter(tmp_path)) as writer:
    for step in (5, 10, 15):
      writer.on_metrics(MetricsRecord(step, 'train', None, {'elbo': float(step)}))
  path = tmp_path / 'metrics.jsonl'
  path.write_text(path.read_text() + '{"step": 20, "wall')
  with started(JsonlWriter(tmp_path), step=10) as writer:
    assert [line['step'] for line in metric_writers.read_metrics(tmp_path)] == [5, 10]
    writer.on_metrics(MetricsRecord(15, 'test', None, {'elbo': -1.0}))
  assert run_folder.lines_of(tmp_path) == [
    {'step': 5, 'split': 'train', 'elbo': 5.0},
    {'step': 10, 'split': 'train', 'elbo': 10.0},
    {'step': 15, 'split': 'test', 'elbo': -1.0},
  ]
  assert not caplog.records


def test_time_goes_on_where_an_earlier_process_ended(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('{"step": 5, "wall_s": 1000.0, "split": "train"}\n')
  with started(JsonlWriter(tmp_path), step=5) as writer:
    writer.on_metrics(MetricsRecord(10, 'train', None, {}))
  assert 1000 <= metric_writers.read_metrics(tmp_path)[-1]['wall_s'] < 1010


GARBAGE = [
  b'17', b'null', b'[1, 2]', b'"text"', b'{}', b'{"step": 6}', b'\xff\xfe\x00', b'\x00' * 9,
  b'{"step": 6, "wall_s": 1.0, "split": "tr', b'{"step": "6", "wall_s": "1", "split": "train"}',
  b'{"step": 6, "wall_s": NaN, "split": "train"}', b'{"step": 6, "wall_s": 1.0, "split": 3}',
  b'{"step": 6, "wall_s": 1' + b'0' * 400 + b', "split": "train"}', b'[' * 99_999,
  b'{"step": 6, "wall_s": 1.0, "split": "train", "elbo": "high"}', b'{"step": 6.5, "wall_s": 1.0}',
]  # fmt: skip


def test_garbage_is_left_out_and_named_once_and_nothing_else_is_lost(tmp_path, caplog):
  records = [
    {'step': step, 'wall_s': step / 2, 'split': 'train', 'elbo': elbo}
    for step, elbo in ((5, -3.5), (10, float('inf')), (15, 2), (20, 4.0))
  ]
  good = [json.dumps(record).encode() for record in records]
  lines = [good[0], b'', *GARBAGE, b'  ', good[1], GARBAGE[0], good[2], good[3]]
  path = tmp_path / 'metrics.jsonl'
  path.write_bytes(b'\n'.join(lines))  # the last one is whole, without an end of line
  with caplog.at_level(logging.WARNING):
    assert metric_writers.read_metrics(tmp_path) == records
    assert metric_writers.read_metrics(tmp_path) == records
  (message,) = [record.getMessage() for record in caplog.records]
  numbers = [*range(3, 3 + len(GARBAGE)), 5 + len(GARBAGE)]
  assert message == f'{path}: lines without a record are left out: {str(numbers)[1:-1]}'
  with started(JsonlWriter(tmp_path), step=15) as writer:
    writer.on_metrics(MetricsRecord(20, 'train', None, {'elbo': 1.0}))
  assert path.read_bytes().splitlines()[:3] == good[:3]
  assert [line['step'] for line in run_folder.lines_of(tmp_path)] == [5, 10, 15, 20]


def test_a_full_disk_ends_training_rather_than_a_thread(tmp_path, monkeypatch):
  """TensorboardX's own writer had a thread, without which the program never ended."""
  with started(TensorBoardWriter(tmp_path)) as writer:
    assert not any('Event' in type(each).__name__ for each in threading.enumerate())
    events = writer._open[None]

    def full(_):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(events._events, 'write_event', full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/tensorboard'"):
      writer.on_metrics(MetricsRecord(5, 'train', None, {'elbo': 1.0}))
