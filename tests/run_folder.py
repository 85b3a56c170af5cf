"""Trainings in a test, and reading back what they leave in their folders."""

import json

import jax
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from air_jax import api
from air_jax.training import population, restore

PICTURES = {'reconstructions', 'attention', 'training', 'samples'}
ANIMATIONS = {'learning.gif', 'inference.gif'}


def train(config, folder):
  """Trains with all that the program does, but without figures: they take longest."""
  return api.train(config, folder, figures=False)


def after_chunk(monkeypatch, number, do):
  """Makes the loop call `do(states, reports)` in place of returning from its number-th chunk."""
  advance, calls = population.advance, []

  def wrapped(*args):
    calls.append(args)
    result = advance(*args)
    return do(*result) if len(calls) == number else result

  monkeypatch.setattr(population, 'advance', wrapped)


def lines_of(folder, split=None):
  """The lines of metrics.jsonl without their times, which must not decrease."""
  lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
  times = [line.pop('wall_s') for line in lines]
  assert times == sorted(times) and times[0] >= 0
  return [line for line in lines if split in (None, line['split'])]


def checkpoints_of(folder):
  names = (path.name for path in (folder / 'checkpoints').iterdir())
  return sorted(int(name) for name in names if name.isdecimal())


def contents(folder):
  return {path: path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


def read_events(folder):
  """TensorBoard's view of a run, its scalars by (tag, step), and those of metrics.jsonl."""
  events = EventAccumulator(
    str(folder / 'tensorboard'), size_guidance={'images': 0, 'histograms': 0}
  ).Reload()
  scalars = [
    ((tag, event.step), event.value)
    for tag in events.Tags()['scalars']
    for event in events.Scalars(tag)
  ]
  assert len(dict(scalars)) == len(scalars)
  written = {
    (f'{line["split"]}/{name}', line['step']): value
    for line in lines_of(folder)
    for name, value in line.items()
    if name not in ('step', 'split')
  }
  return events, dict(scalars), written


def assert_same_end(folder, other):
  """Checks that both runs ended in the same state, to the last bit."""
  a, b = (restore.restore(path)[1] for path in (folder, other))
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y)
