"""The training loop: chunks of steps, what is read, kept, evaluated and shown between them."""

import contextlib
import signal
import sys

import jax
import numpy as np
import tqdm

from air_jax import config as config_lib
from air_jax import evaluate, figures, learner, runs
from air_jax.checkpoints import Checkpoints
from air_jax.data import loading
from air_jax.errors import DivergenceError, Interrupted
from air_jax.logs import MetricsLog


def train(config, workdir):
  """Trains, or goes on training, the run in a folder until `config.train.steps`.

  Args:
    config: ConfigDict with the keys of configs/default.py.
    workdir: path of the folder; it becomes the run's once its data are at hand.

  Returns:
    the summary of the evaluation after the last step, see `evaluate.summarise`.

  Raises:
    DivergenceError: a quantity is no longer finite.
    Interrupted: by Ctrl-C or SIGTERM, after a checkpoint.
    UserError: the configuration is impossible, the data cannot be had, the folder cannot be used
      or is another run's, or every checkpoint is damaged.
  """
  given, config = config, config_lib.parse(config)
  rhythm = config.train
  test_scenes = loading.load(config.data, 'test')
  feed = loading.feed(config.data, config.seed, rhythm.batch_size)
  folder = runs.claim(workdir, given)
  learning = learner.make(config)
  state = learner.init(learning)
  with (
    contextlib.closing(feed),
    Checkpoints(folder / 'checkpoints', rhythm.keep_checkpoints) as checkpoints,
  ):
    if restored := checkpoints.restore(state):
      _, state = restored
    step = saved = int(state.step)
    unread = None
    if step >= rhythm.steps:
      print(f'nothing to do: step {step} is reached; raise --config.train.steps to go on')
    with (
      MetricsLog(folder, step) as log,
      _Progress(step, rhythm.steps) as progress,
      _Interruption() as interruption,
    ):
      while step < rhythm.steps and not interruption.signal:
        rhythms = rhythm.log_every, rhythm.eval_every, rhythm.checkpoint_every
        chunk = min(rhythm.steps - step, *(every - step % every for every in rhythms))
        drawn = feed.draw(step, chunk)
        state, reports = learner.train_chunk(learning, feed.fetch, state, feed.data, drawn)
        _read(unread, log, progress)  # one chunk late: the device does not wait for us
        step, unread = step + chunk, (step, reports)
        last = step == rhythm.steps
        saving = last or step % rhythm.checkpoint_every == 0
        evaluating = last or step % rhythm.eval_every == 0
        if saving or evaluating:
          unread = _read(unread, log, progress)  # first: what is not finite is not kept
        if evaluating:
          evaluation, summary = evaluate.held_out(learning, state, test_scenes)
          evaluate.write(summary, folder)
          log.scalars(step, 'test', evaluate.scalars(summary))
          log.pictures(step, figures.draw(learning, state, test_scenes, evaluation, folder))
          progress.evaluated(step, summary)
        if saving:
          _save(checkpoints, step, state)
          saved = step
      if step < rhythm.steps:
        if saved < step:
          _read(unread, log, progress)
          _save(checkpoints, step, state)
        raise Interrupted(interruption.signal, step)
  return evaluate.read(folder)


def _read(unread, log, progress):
  """Checks and writes down the reports of a chunk; returns None: nothing is left to read."""
  if unread:
    start, reports = unread
    reports = {name: np.asarray(values) for name, values in reports.items()}
    _check_finite(start, reports)
    means = {name: float(values.mean()) for name, values in reports.items()}
    step = start + len(reports['loss'])
    log.scalars(step, 'train', means)
    progress.advanced(step, means)


def _save(checkpoints, step, state):
  """Keeps a state, unless the last update has left the finite: its loss was from before."""
  broken = [
    part
    for part, values in state.params.items()
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(values))
  ]
  if broken:
    raise _diverged(step, [f'parameters of {part}' for part in broken])
  checkpoints.save(step, state)


def _check_finite(start, reports):
  broken = [
    (int(np.flatnonzero(~np.isfinite(values))[0]), name)
    for name, values in reports.items()
    if not np.isfinite(values).all()
  ]
  if broken:
    first = min(position for position, _ in broken)
    names = [name for position, name in broken if position == first]
    raise _diverged(start + first + 1, names)


def _diverged(step, names):
  return DivergenceError(
    f'training diverged: at step {step} these are not finite: {", ".join(names)}; '
    'the last checkpoint is from before; try a lower train.learning_rate or a train.clip_norm'
  )


class _Progress:
  """A progress bar on a terminal; a line for each evaluation there and elsewhere."""

  def __init__(self, step, steps):
    self._bar = tqdm.tqdm(
      total=steps, initial=step, unit='step', dynamic_ncols=True, disable=not sys.stderr.isatty()
    )

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self._bar.close()

  def advanced(self, step, means):
    shown = f'loss {means["loss"]:.1f}, ELBO {means["elbo"]:.1f}'
    if 'count_accuracy' in means:
      shown += f', counted {means["count_accuracy"]:.1%}'
    self._bar.set_postfix_str(shown)
    self._bar.update(step - self._bar.n)

  def evaluated(self, step, summary):
    shown = [f'ELBO {summary["elbo"]:.1f} nats']
    if 'count_accuracy' in summary:
      shown.insert(0, f'count accuracy {summary["count_accuracy"]:.2%}')
    if 'box_iou' in summary:
      shown.append(f'box IoU {summary["box_iou"]:.3f}')
    self._bar.write(f'step {step:>7,}: held-out {", ".join(shown)}')


class _Interruption:
  """Turns the first Ctrl-C or SIGTERM into a note to stop; the second acts as it always does."""

  def __init__(self):
    self.signal = None  # its number, once it came

  def __enter__(self):
    self._former = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
    return self

  def __exit__(self, *exception):
    for number, handler in self._former.items():
      signal.signal(number, handler)

  def _note(self, number, frame):
    self.signal = number
    signal.signal(number, self._former[number])
