"""The training loop: chunks of steps, what is read, kept, evaluated and shown between them."""

import contextlib
import math
import signal
import sys
import time

import jax
import numpy as np
import tqdm

from air_jax.config import schema as config_lib
from air_jax.data import loading
from air_jax.errors import DivergenceError, Interrupted
from air_jax.evaluation import held_out, population_summary
from air_jax.inference import run_figures
from air_jax.inference.predictor import Model
from air_jax.runtime import distributed
from air_jax.storage import metric_writers, run_dir
from air_jax.storage.metric_writers import MetricsLog
from air_jax.training import population

_HEADLINE = 'count_accuracy', 'elbo', 'box_iou'  # of a run, in TensorBoard's table of runs


def train(config, workdir):
  """Trains, or goes on training, the run in a folder until `config.train.steps`.

  Args:
    config: ConfigDict with the keys of configs/default.py.
    workdir: path of the folder; it becomes the run's once its data are at hand.

  Returns:
    the summary of the evaluation after the last step, see `census.summarise`.

  Raises:
    DivergenceError: a quantity is no longer finite; of a population, in every member.
    Interrupted: by Ctrl-C or SIGTERM, after a checkpoint.
    UserError: the configuration is impossible, the data cannot be had, the folder cannot be used
      or is another run's, or every checkpoint is damaged.
  """
  started = time.perf_counter()
  given, config = config, config_lib.parse(config)
  rhythm = config.train
  members = population.make(config)
  part = population.share_of_batch(members, rhythm.batch_size)
  with distributed.first_goes_first('the data and the folder'):
    test_scenes = loading.load(config.data, 'test')
    feed = population.share(members, loading.feed(config.data, rhythm.batch_size, part))
    population.check(members, feed, rhythm.batch_size)
    folder = run_dir.claim(workdir, given)
  with (
    contextlib.closing(feed),
    distributed.notes(folder) as notes,
    run_dir.checkpoints(folder, rhythm) as checkpoints,
  ):
    states, unread, step = population.init(members), None, 0
    if restored := checkpoints.restore(states):
      step, states = restored[0], population.place(members, restored[1])
    saved = first = step
    if step >= rhythm.steps:
      print(f'nothing to do: step {step} is reached; raise --config.train.steps to go on')
    with (
      _Journal(notes, members, step, rhythm, run_dir.diverged(folder, step)) as journal,
      _Interruption() as interruption,
    ):
      if step == 0:
        journal.film(states, test_scenes)
      while step < rhythm.steps and not (stopped := distributed.highest(interruption.signal)):
        rhythms = rhythm.log_every, rhythm.eval_every, rhythm.checkpoint_every
        chunk = min(rhythm.steps - step, *(every - step % every for every in rhythms))
        states, reports = population.advance(members, feed, states, step, chunk)
        if step == first:
          journal.begun(time.perf_counter() - started)
        journal.read(unread)  # one chunk late: the device does not wait for us
        step, unread = step + chunk, (step, reports)
        last = step == rhythm.steps
        saving = last or step % rhythm.checkpoint_every == 0
        evaluating = last or step % rhythm.eval_every == 0
        filming = evaluating or step <= run_figures.EARLY_CHUNKS * rhythm.log_every
        if saving or filming:
          unread = journal.read(unread)  # first: what is not finite is not kept
          journal.check_states(step, states)
        if filming:
          journal.film(states, test_scenes)
        bound = -math.inf
        if evaluating:
          bound = journal.evaluate(step, states, test_scenes, last or _draws(rhythm, step))
        if saving:
          checkpoints.save(step, states, bound)
          saved = step
      if step < rhythm.steps:
        if saved < step:
          journal.read(unread)
          journal.check_states(step, states)
          checkpoints.save(step, states)
        raise Interrupted(stopped, step)
    return held_out.read(notes)


def _draws(rhythm, step):
  """Whether the evaluation at a step is the first since pictures were due."""
  return rhythm.draw_every > 0 and step % rhythm.draw_every < rhythm.eval_every


class _Journal:
  """What is written down, shown and drawn of each member, and of the population they are.

  Members that leave the finite are recorded, and left out from then on.
  """

  def __init__(self, folder, members, step, rhythm, diverged):
    self._folder, self._members, self._success = folder, members, rhythm.success
    self._size = len(members.learners)
    self._homes = run_dir.homes(folder, self._size)
    self._diverged = diverged
    self._open = contextlib.ExitStack()
    self._start, self._steps = step, rhythm.steps

  def __enter__(self):
    with self._open as stack:
      for home in self._homes:
        run_figures.discard_frames_after(home, self._start)
      self._logs = [stack.enter_context(MetricsLog(home, self._start)) for home in self._homes]
      self._of_all = self._logs[0]
      if self._size > 1:
        self._of_all = stack.enter_context(MetricsLog(self._folder, self._start))
      self._progress = stack.enter_context(_Progress(self._start, self._steps))
      self._open = stack.pop_all()
    return self

  def __exit__(self, *exception):
    self._open.close()

  def begun(self, seconds):
    """Tells how long it took until the first steps were compiled and under way."""
    self._progress.write(f'first steps under way after {seconds:.1f} s')

  def read(self, unread):
    """Checks and writes down the reports of a chunk; returns None: nothing is left to read."""
    if unread:
      start, reports = unread
      reports = {name: np.asarray(values) for name, values in reports.items()}
      self._check_reports(start, reports)
      means = {i: _means(reports, i) for i in self._alive()}
      step = start + len(reports['loss'])
      for i, scalars in means.items():
        self._logs[i].scalars(step, 'train', scalars)
        if scalars.get('skipped'):
          self._tell_skipped(i, start, step, scalars['skipped'])
      mean = population_summary.mean(list(means.values()))
      if self._size > 1:
        self._of_all.scalars(step, 'train', mean)
      self._progress.advanced(step, mean)

  def film(self, states, scenes):
    """Takes a frame of what each member makes of the same few scenes."""
    states = distributed.gather(states)
    for i in self._alive():
      run_figures.record_frame(self._model(states, i), scenes, self._homes[i])

  def evaluate(self, step, states, scenes, drawing):
    """Evaluates every member, sums all up, may draw it (the last always); gives the mean ELBO."""
    states = distributed.gather(states)
    evaluations, summaries = population_summary.take(
      self._members, states, scenes, self._homes, self._diverged
    )
    for i, summary in summaries.items():
      scalars, log = held_out.scalars(summary), self._logs[i]
      log.scalars(step, 'test', scalars)
      log.histograms(step, held_out.posteriors(evaluations[i]))
      if not drawing:
        continue
      model, home = self._model(states, i), self._homes[i]
      records = metric_writers.read(home)
      log.pictures(step, run_figures.draw_run(model, scenes, evaluations[i], records, home))
      if step == self._steps:
        run_figures.draw_animations(model, scenes, home)
        metrics = [f'test/{name}' for name in _HEADLINE if name in scalars]
        log.hparams(config_lib.to_flat(model.config), metrics)
    summary = population_summary.summarise(summaries, self._diverged, self._success)
    if self._size > 1:
      held_out.write(summary, self._folder)
      self._of_all.scalars(step, 'test', held_out.scalars(summary))
      if drawing:
        records = [metric_writers.read(home) for home in self._homes]
        self._of_all.pictures(step, run_figures.draw_population(records, self._folder))
    self._progress.evaluated(step, summary)
    return summary['elbo']

  def check_states(self, step, states):
    """Takes note of parameters that are not finite: the loss of the last update was from before."""
    broken = {}
    for part, values in distributed.gather(states.params).items():
      leaves = [leaf.reshape(self._size, -1) for leaf in jax.tree.leaves(values)]
      finite = np.all([np.isfinite(leaf).all(1) for leaf in leaves], axis=0)
      for i in np.flatnonzero(~finite):
        broken.setdefault(int(i), (step, []))[1].append(f'parameters of {part}')
    self._take_note(broken)

  def _model(self, states, i):
    learner, state = self._members.learners[i], population.member(states, i)
    return Model(learner.config, learner.model, state.average, int(state.step))

  def _alive(self):
    return [i for i in range(self._size) if i not in self._diverged]

  def _check_reports(self, start, reports):
    broken = {}
    for i in range(self._size):
      made = _made(reports, i)
      bad = {name: made & ~np.isfinite(values[:, i]) for name, values in reports.items()}
      first = {name: int(np.argmax(where)) for name, where in bad.items() if where.any()}
      if not made.any():
        first = {'every gradient since': 0}
      if first:
        at = min(first.values())
        broken[i] = start + at + 1, [name for name in first if first[name] == at]
    self._take_note(broken)

  def _tell_skipped(self, member, start, step, number):
    whose = f'member {member}, ' if self._size > 1 else ''
    self._progress.write(
      f'{whose}steps {start + 1} to {step}: {number:.0f} updates left out, gradient not finite'
    )

  def _take_note(self, broken):
    """Records the members that have newly diverged; ends training where none is left."""
    new = {i: {'step': s, 'what': w} for i, (s, w) in broken.items() if i not in self._diverged}
    self._diverged |= new
    if self._size > 1 and new:
      run_dir.write_diverged(self._folder, self._diverged)
      for i, known in new.items():
        self._progress.write(f'member {i} diverged at step {known["step"]}: {_listed(known)}')
    if len(self._diverged) == self._size:
      known = min(self._diverged.values(), key=lambda known: known['step'])
      every = 'in every member, first ' if self._size > 1 else ''
      raise DivergenceError(
        f'training diverged: {every}at step {known["step"]} these are not finite: '
        f'{_listed(known)}; the last checkpoint is from before; try a lower train.learning_rate or '
        'a train.clip_norm'
      )


def _made(reports, member):
  """[steps] which updates of a member were made, rather than left out."""
  skipped = reports.get('skipped', np.zeros_like(reports['loss']))
  return skipped[:, member] == 0


def _means(reports, member):
  """Each report of a member, mean over the updates that were made; how many were `skipped`."""
  made = _made(reports, member)
  means = {name: float(values[made, member].mean()) for name, values in reports.items()}
  return means | ({'skipped': float(np.sum(~made))} if 'skipped' in reports else {})


def _listed(known):
  return ', '.join(known['what'])


class _Progress:
  """A progress bar on a terminal; a line for each evaluation there and elsewhere."""

  def __init__(self, step, steps):
    self._bar = tqdm.tqdm(
      total=steps,
      initial=step,
      unit='step',
      dynamic_ncols=True,
      disable=not (distributed.first() and sys.stderr.isatty()),
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
    shown = []
    if 'count_accuracy' in summary:
      shown.append(f'count accuracy {summary["count_accuracy"]:.2%}')
    if 'success' in summary:
      shown.append(f'worst {summary["worst_count_accuracy"]:.2%}')
      shown.append(f'{summary["success"]["members"]} of {summary["members"]} succeed')
    shown.append(f'ELBO {summary["elbo"]:.1f} nats')
    if 'box_iou' in summary:
      shown.append(f'box IoU {summary["box_iou"]:.3f}')
    self.write(f'step {step:>7,}: held-out {", ".join(shown)}')

  def write(self, line):
    self._bar.write(line)


class _Interruption:
  """Turns the first Ctrl-C or SIGTERM into a note to stop; the second acts as it always does."""

  def __init__(self):
    self.signal = 0  # its number, once it came

  def __enter__(self):
    self._former = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
    return self

  def __exit__(self, *exception):
    for number, handler in self._former.items():
      signal.signal(number, handler)

  def _note(self, number, frame):
    self.signal = number
    signal.signal(number, self._former[number])
