"""The training loop: chunks of steps on the device; evaluations and checkpoints between them."""

import contextlib
import math
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict

from air_jax.callbacks import Callback, CallbackList
from air_jax.config import schema
from air_jax.config.sections import Config, TrainConfig
from air_jax.data import batches, loading
from air_jax.errors import Interrupted, UserError
from air_jax.runtime import ahead, distributed
from air_jax.storage import checkpoint_reader, checkpoints, provenance, run_dir
from air_jax.training import memory, population, train_step
from air_jax.training.interruption import Interruption
from air_jax.training.recorder import Recorder

_CLOSE_LOOKS = 20  # chunks at the start after each of which callbacks see the model


def train(
  config: ConfigDict,
  workdir: str | os.PathLike,
  *,
  data: loading.Split | None = None,
  callbacks: Sequence[Callback] = (),
) -> dict[str, Any]:
  """Trains, or goes on training, the run in a folder until `config.train.steps`, or to its plateau.

  Args:
    config: with the keys of configs/default.py.
    workdir: the run's folder; it is made once its data are at hand.
    data: training and held-out scenes, in place of those that section `data` describes.
    callbacks: receive all that is reported; see `air_jax.callbacks`.

  Returns:
    the summary of the evaluation after the last step, see `population_summary.summarize`.

  Raises:
    DivergenceError: NaN or infinity, in a population in every member.
    Interrupted: by Ctrl-C or SIGTERM, after a checkpoint.
    UserError: the configuration is impossible or needs more memory than there is, the data cannot
      be had, the folder cannot be used, belongs to another run or is in use, or every checkpoint is
      damaged.
  """
  started = time.perf_counter()
  given = _resolved(config) if data is None else config
  config = schema.parse(given)
  memory.check_sizes(config)
  members = population.build(config)
  shard = population.batch_shard(members)
  compiling = ahead.Ahead()
  if data is None:
    _compile_step(compiling, config, members, shard, pathlib.Path(os.path.expanduser(workdir)))
  with contextlib.ExitStack() as stack:
    with distributed.primary_first('data and folder'):
      scenes, source = _load(config, data, shard)
      stack.enter_context(contextlib.closing(source))
      source = population.replicate(members, source)
      memory.check(members, source)
      folder = stack.enter_context(run_dir.open_for_writing(workdir, given))
    kept = stack.enter_context(checkpoints.of_run(folder, config.train))
    listening = CallbackList(callbacks if distributed.is_primary() else ())
    return _run(config, members, scenes, source, folder, kept, listening, compiling, started)


def _run(config, members, scenes, source, folder, kept, callbacks, compiling, started):
  """The loop itself; returns the summary of the last evaluation."""
  intervals, summary, step = config.train, None, 0
  if restored := kept.restore(population.shapes(members)):
    step, states = restored[0], population.place(members, restored[1])
  else:
    states = population.init(members)
  saved = first = step
  recorder = Recorder(config, members, scenes, folder, step, callbacks)
  if distributed.is_primary() and step < recorder.end:
    provenance.record(folder, step)
  try:
    callbacks.on_start(step, config)
    if step >= recorder.end:
      more = 'raise train.steps'
      if recorder.end < intervals.steps:
        more = 'it is at a plateau; set train.stop_when=0'
      callbacks.on_message(f'nothing to do: step {step} is reached; {more} to go on')
      summary = _kept_summary(folder) or recorder.evaluate(step, states, figures=False)
    elif step == 0:
      recorder.show(step, states)
    with Interruption() as interruption:
      while step < recorder.end and not (
        stopped := distributed.max_over_processes(interruption.signal)
      ):
        chunk = _chunk(step, intervals)
        if step == first:
          compiling.wait()
        states, reports = population.advance(
          train_step.train_step, members, source, states, step, chunk
        )
        if step == first:
          seconds = time.perf_counter() - started
          callbacks.on_message(f'first steps under way after {seconds:.1f} s')
          compiling.start(recorder.compile_evaluation)
        recorder.later(step, reports)
        step += chunk
        last = step == recorder.end
        saving = last or step % intervals.checkpoint_every == 0
        evaluating = last or step % intervals.eval_every == 0
        showing = step <= _CLOSE_LOOKS * intervals.log_every
        if saving or evaluating or showing:
          recorder.check(step, states)
        bound = -math.inf
        if evaluating:
          compiling.wait()
          summary = recorder.evaluate(step, states, _figures_due(step, intervals))
          bound = summary['elbo']
        elif showing:
          recorder.show(step, states)
        if saving:
          kept.save(step, states, bound)
          saved = step
      recorder.finish()
      if step < recorder.end:
        if saved < step:
          recorder.check(step, states)
          kept.save(step, states)
        raise Interrupted(stopped, step)
  except BaseException:
    callbacks.on_end(None)
    raise
  callbacks.on_end(summary)
  return summary


def _compile_step(compiling, config, members, shard, folder):
  """Starts to compile the first steps to make, where their shapes are known before the scenes."""
  intervals = config.train
  try:
    begun = max(checkpoint_reader.steps(folder / 'checkpoints'), default=0)
  except UserError:
    return  # opening the folder says what is wrong with it
  expected = loading.expected_source(config.data, intervals.batch_size, shard)
  # Of several processes one prepares the data, while the others wait for it with a deadline.
  alone = jax.process_count() == 1
  if expected is None or not alone or begun >= intervals.steps:
    return
  memory.check(members, expected)
  compiling.start(
    lambda: population.compile_ahead(
      train_step.train_step, members, expected, begun, _chunk(begun, intervals)
    )
  )


def _kept_summary(folder: pathlib.Path) -> dict[str, Any] | None:
  """The summary of the last evaluation; None where it has to be made anew."""
  try:
    return run_dir.read_evaluation(folder)
  except UserError as error:
    logging.warning('%s, which is done now', error)
    return None


def _resolved(config: ConfigDict) -> ConfigDict:
  """The configuration with the levels that are measured: the run keeps them for other images."""
  given = schema.parse(config).data
  if (data := loading.resolve(given)) == given:
    return config
  config = ConfigDict(config.to_dict())
  config.data.levels = data.levels
  return config


def _load(config: Config, data: loading.Split | None, shard: slice):
  """The held-out scenes, and the source of training batches."""
  if data is None:
    scenes = loading.load(config.data, 'test')
    return scenes, loading.batch_source(config.data, config.train.batch_size, shard)
  return data.test, batches.resident(data.train, config.train.batch_size, shard=shard)


def _chunk(step: int, intervals: TrainConfig) -> int:
  """How many steps to make until something is due."""
  every = intervals.log_every, intervals.eval_every, intervals.checkpoint_every
  return min(intervals.steps - step, *(n - step % n for n in every))


def _figures_due(step: int, intervals: TrainConfig) -> bool:
  """Whether the evaluation at a step is the first since figures were due."""
  return intervals.draw_every > 0 and step % intervals.draw_every < intervals.eval_every
