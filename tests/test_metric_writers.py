"""metrics.jsonl and TensorBoard events: a line for all that happens, and none twice."""

import numpy as np
import pytest
import run_folder
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from air_jax.config import schema as config_lib
from air_jax.data import loading
from air_jax.evaluation import held_out
from air_jax.storage import metric_writers, run_dir
from air_jax.training import population

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
  members = population.make(parsed)
  source = loading.batch_source(parsed.data, parsed.train.batch_size)
  states = population.init(members)
  for start, line in zip((0, 5), run_folder.lines_of(finished_run, 'train'), strict=False):
    states, reports = population.advance(members, source, states, start, 5)
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
  learning, state, _ = run_dir.restore(finished_run)
  scenes = loading.load(learning.config.data, 'test')
  evaluation, _ = held_out.held_out(learning, state, scenes)
  for name, values in held_out.posteriors(evaluation).items():
    first, last = events.Histograms(f'posterior/{name}')
    assert (first.step, last.step) == (10, 20)
    shown = last.histogram_value
    assert shown.num == values.size and shown.sum == pytest.approx(values.sum(), rel=1e-3)
    assert sum(shown.bucket) == values.size
    assert (shown.min, shown.max) == pytest.approx((values.min(), values.max()), rel=1e-4)


def test_histograms_leave_out_what_is_not_there_or_not_finite(tmp_path):
  with metric_writers.MetricsLog(tmp_path, 0) as log:
    log.histograms(5, {'none': np.zeros(0), 'some': np.array([1.0, np.nan, 3.0, np.inf])})
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
  with metric_writers.MetricsLog(tmp_path, 0) as log:
    for steps in (10, 20):
      log.hparams({'train.steps': steps, 'sizes': (1, 2)}, ['test/elbo'])
  given, metrics, _ = _hparams(tmp_path)
  assert given == {'train.steps': 20, 'sizes': '(1, 2)'} and metrics == ['test/elbo']


def test_metrics_file_survives_a_line_cut_short_and_drops_what_comes_later(tmp_path):
  with metric_writers.MetricsLog(tmp_path, 0) as log:
    for step in (5, 10, 15):
      log.scalars(step, 'train', {'elbo': float(step)})
  path = tmp_path / 'metrics.jsonl'
  path.write_text(path.read_text() + '{"step": 20, "wall')
  with metric_writers.MetricsLog(tmp_path, 10) as log:
    assert [line['step'] for line in metric_writers.read(tmp_path)] == [5, 10]
    log.scalars(15, 'test', {'elbo': -1.0})
  assert run_folder.lines_of(tmp_path) == [
    {'step': 5, 'split': 'train', 'elbo': 5.0},
    {'step': 10, 'split': 'train', 'elbo': 10.0},
    {'step': 15, 'split': 'test', 'elbo': -1.0},
  ]


def test_time_goes_on_where_an_earlier_process_ended(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('{"step": 5, "wall_s": 1000.0, "split": "train"}\n')
  with metric_writers.MetricsLog(tmp_path, 5) as log:
    log.scalars(10, 'train', {})
  assert 1000 <= metric_writers.read(tmp_path)[-1]['wall_s'] < 1010
