"""The training loop: going on, breaking off, everything when it is due."""

import json
import signal

import jax.numpy as jnp
import numpy as np
import pytest
import run_folder
from PIL import Image
from run_folder import after_chunk, train

from air_jax import api
from air_jax.callbacks import Callback, MetricsRecord
from air_jax.config import schema
from air_jax.errors import Interrupted
from air_jax.evaluation import held_out
from air_jax.progress import Progress
from air_jax.storage import run_dir
from air_jax.storage.metric_writers import JsonlWriter
from air_jax.training import loop, population, restore, train_step
from air_jax.training.interruption import Interruption


def test_only_the_newest_checkpoints_are_kept(finished_run):
  assert run_folder.checkpoints_of(finished_run) == [10, 15, 20]


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_run_stopped_by_a_signal_goes_on_to_the_same_end(
  run_config, finished_run, tmp_path, monkeypatch, number
):
  run_config.train.checkpoint_every = run_config.train.eval_every = 1000
  handler = signal.getsignal(number)

  def interrupt(*result):
    signal.raise_signal(number)
    return result

  with monkeypatch.context() as patch:
    after_chunk(patch, 3, interrupt)
    with pytest.raises(Interrupted, match='at step 15;') as caught:
      train(run_config, tmp_path)
  assert caught.value.exit_code == 128 + number
  assert signal.getsignal(number) == handler
  assert run_folder.checkpoints_of(tmp_path) == [15]
  assert [line['step'] for line in run_folder.lines_of(tmp_path)] == [5, 10, 15]
  train(run_config, tmp_path)
  run_folder.assert_same_end(tmp_path, finished_run)
  assert run_folder.lines_of(tmp_path, 'train') == run_folder.lines_of(finished_run, 'train')
  assert run_folder.lines_of(tmp_path, 'test') == run_folder.lines_of(finished_run, 'test')[1:]


def test_run_stopped_while_it_evaluates_keeps_a_checkpoint(run_config, tmp_path, monkeypatch):
  run_config.train.checkpoint_every = 1000
  evaluate = held_out.evaluate

  def interrupted(*args):
    signal.raise_signal(signal.SIGTERM)
    return evaluate(*args)

  monkeypatch.setattr(held_out, 'evaluate', interrupted)
  with pytest.raises(Interrupted, match='at step 10;'):
    train(run_config, tmp_path)
  assert run_folder.checkpoints_of(tmp_path) == [10]


@pytest.fixture
def interruptible():
  """Ctrl-C as in a terminal; who runs the tests in the background has it ignored."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('interruptible')
def test_second_signal_acts_at_once():
  with Interruption() as interruption:
    assert interruption.signal == 0
    signal.raise_signal(signal.SIGINT)
    assert interruption.signal == signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
      signal.raise_signal(signal.SIGINT)


def test_run_whose_newest_checkpoint_is_damaged_ends_the_same(copy, finished_run, run_config):
  files = [path for path in (copy / 'checkpoints' / '20').rglob('*') if path.is_file()]
  path = max(files, key=lambda path: path.stat().st_size)
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
  train(run_config, copy)
  run_folder.assert_same_end(copy, finished_run)
  assert run_folder.lines_of(copy) == run_folder.lines_of(finished_run)


def test_finished_run_has_nothing_to_do(copy, finished_run, run_config, capsys):
  before = run_folder.contents(copy / 'checkpoints')
  assert train(run_config, copy) == json.loads((finished_run / 'evaluation.json').read_text())
  assert 'nothing to do: step 20 is reached' in capsys.readouterr().out
  assert run_folder.contents(copy / 'checkpoints') == before
  assert run_folder.lines_of(copy) == run_folder.lines_of(finished_run)


def test_more_steps_continue_a_finished_run(copy, finished_run, run_config):
  run_config.train.steps = 30
  assert train(run_config, copy)['step'] == 30
  assert run_folder.lines_of(copy)[:6] == run_folder.lines_of(finished_run)
  assert [line['step'] for line in run_folder.lines_of(copy)[6:]] == [25, 30, 30]
  _, states, _ = restore.restore(copy)
  assert states.step.tolist() == [30] and run_dir.load_config(copy).train.steps == 30


def test_progress_shows_what_there_is(tiny_config, capsys):
  progress = Progress()
  progress.on_start(0, schema.parse(tiny_config))
  known = {'count_accuracy': 0.5, 'box_iou': 0.25}
  for more in ({}, known):
    progress.on_metrics(MetricsRecord(10, 'train', None, {'loss': 9.0, 'elbo': -9.0} | more))
    progress.on_evaluation(10, {'elbo': -9.0} | more)
  progress.on_end(None)
  assert capsys.readouterr().out.splitlines() == [
    'step      10: held-out ELBO -9.0 nats',
    'step      10: held-out count accuracy 50.00%, ELBO -9.0 nats, box IoU 0.250',
  ]


@pytest.mark.parametrize(
  ('log_every', 'eval_every', 'checkpoint_every', 'draw_every', 'steps'),
  [
    (5, 10, 15, 20, 30),
    (5, 8, 12, 8, 24),
    (10, 4, 3, 0, 12),
    (100, 7, 50, 9, 20),
    (3, 7, 7, 5, 20),
  ],
)
def test_everything_happens_when_it_is_due(
  run_config, tmp_path, monkeypatch,
  log_every, eval_every, checkpoint_every, draw_every, steps,
):  # fmt: skip
  run_config.train.update(
    log_every=log_every, eval_every=eval_every, checkpoint_every=checkpoint_every,
    draw_every=draw_every, steps=steps, keep_checkpoints=100,
  )  # fmt: skip
  evaluated, drawn, shown = [], [], []

  def advance(step_fn, members, source, states, start, steps):
    assert states.step == start
    made = np.asarray(start + 1 + np.arange(steps), np.float32)[:, None]
    reports = dict.fromkeys(('loss', 'elbo', 'count_accuracy'), made)
    return states._replace(step=states.step + steps), reports

  def evaluate(model, params, scenes, seed, step):
    evaluated.append(step)
    return 'evaluation', {'count_accuracy': 0.5, 'elbo': 1.0, 'box_iou': 0.5}

  class Looker(Callback):
    def on_snapshot(self, snapshot):
      shown.append(snapshot.step)
      if snapshot.figures:
        assert snapshot.evaluation == 'evaluation'
        drawn.append(snapshot.step)

  start = train_step.TrainState(jnp.zeros(1, jnp.int32), {}, {}, (), ())
  monkeypatch.setattr(population, 'init', lambda _: start)
  monkeypatch.setattr(population, 'advance', advance)
  monkeypatch.setattr(held_out, 'evaluate', evaluate)
  monkeypatch.setattr(held_out, 'posteriors', lambda _: {})
  loop.train(run_config, tmp_path, callbacks=[JsonlWriter(tmp_path), Looker()])

  def due(every):
    return sorted({*range(every, steps + 1, every), steps})

  assert evaluated == due(eval_every)
  wanted = due(draw_every or steps)  # figures wait for the evaluation that follows
  assert drawn == sorted({min(x for x in evaluated if x >= step) for step in wanted})
  early = {step for step in range(steps + 1) if step <= 20 * log_every}
  assert set(shown) == {
    0,
    *due(eval_every),
    *(early & {0, *due(log_every), *due(checkpoint_every)}),
  }
  assert run_folder.checkpoints_of(tmp_path) == due(checkpoint_every)
  lines = run_folder.lines_of(tmp_path, 'train')
  assert set(due(log_every)) <= {line['step'] for line in lines}
  # A line speaks for the steps since the one before.
  before = 0
  for line in lines:
    assert line['loss'] == (before + 1 + line['step']) / 2
    before = line['step']


def test_streamed_run_is_the_run_from_memory_also_when_broken_off(
  run_config, finished_run, tmp_path, monkeypatch
):
  run_config.data.reading = 'stream'
  run_config.train.checkpoint_every = run_config.train.eval_every = 1000

  def interrupt(*result):
    signal.raise_signal(signal.SIGTERM)
    return result

  with monkeypatch.context() as patch:
    after_chunk(patch, 2, interrupt)
    with pytest.raises(Interrupted, match='at step 10;'):
      train(run_config, tmp_path)
  train(run_config, tmp_path)
  streamed, resident = (run_folder.lines_of(folder, 'train') for folder in (tmp_path, finished_run))
  assert len(streamed) == len(resident) == 4
  for ours, theirs in zip(streamed, resident, strict=True):
    del ours['split'], theirs['split']
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_scenes_composed_on_the_device_train_too(run_config, tmp_path):
  run_config.data.online = True
  run_config.train.update(steps=5, eval_every=5)
  summary = train(run_config, tmp_path)
  assert summary['images'] == run_config.data.test_scenes
  (line,) = run_folder.lines_of(tmp_path, 'train')
  assert 0 <= line['count_accuracy'] <= 1 and np.isfinite(line['elbo'])


def test_own_images_without_counts_are_trained_on_and_drawn(run_config, tmp_path):
  rng = np.random.default_rng(0)
  for i in range(24):
    Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(tmp_path / f'{i}.png')
  run_config.data.update(source='folder', dir=str(tmp_path), colour=True)
  run_config.model.update(background='latent', max_steps=2, patch_rounds=0)
  run_config.train.update(steps=5, eval_every=5)
  summary = api.train(run_config, tmp_path / 'run')
  assert 'count_accuracy' not in summary and sum(summary['predicted_counts']) == summary['images']
  assert (tmp_path / 'run' / 'figures' / 'training.png').exists()
  (line,) = run_folder.lines_of(tmp_path / 'run', 'train')
  assert 'count_accuracy' not in line and np.isfinite(line['elbo'])
