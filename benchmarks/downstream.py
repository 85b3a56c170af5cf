"""How useful codes are for other tasks: two questions about pairs of digits, from few labels.

    python -m benchmarks.downstream --run=FOLDER --mnist_dir=FOLDER
        [--folder=runs/downstream] [--labels=64,256,1000,10000] [--seeds=3] [--jobs=2]
        [--readers=digit_by_digit,codes,pixels] [--kept=docs/downstream/results.json]
    python -m benchmarks.downstream --report     only reports the results so far

A finished run parses scenes of two digits, and is frozen. A reader then learns the sum of the
digits (19 classes), or whether they ascend from left to right (2 classes), from labelled scenes:

* `codes`, a network of dense layers on both codes and places;
* `digit_by_digit`, dense layers that give each code ten probabilities, which are combined into
  those of the answer: it knows how two digits make the answer, but has to learn what they are;
* `pixels`, convolutions on the image, which do not use the run.

All have the same schedule, the same learning rates to choose from by a fifth of the labels, and
changed inputs to learn from: samples of the posterior of the codes, images shifted by up to three
pixels. A seed decides the labelled scenes and the reader's initial parameters. Finished readers are
kept in the folder, which serves one run. Results in --kept count as finished too; --kept= ignores
them. The report is printed; the results are written to --kept, with `accuracy.png` in the same
folder.
"""

import dataclasses
import io
import itertools
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from jaxtyping import Float
from matplotlib.figure import Figure

from air_jax.errors import UserError
from air_jax.runtime import files
from air_jax.types import Normal
from air_jax.viz import palette
from benchmarks import jobs, readers
from benchmarks.jobs import Result

_RUN = flags.DEFINE_string('run', None, 'Folder of a finished run.')
_LABELS = flags.DEFINE_list('labels', ['64', '256', '1000', '10000'], 'Numbers of labelled scenes.')
_READERS = flags.DEFINE_list('readers', ['digit_by_digit', 'codes', 'pixels'], 'What learns.')
_BENCHMARK = jobs.Benchmark('downstream', ('task', 'reader', 'labels', 'seed'))
_SOURCES = 'digits', 'mnist'  # with ten classes
_PARSE = 'parse'  # the name of the job that all others need
_TRAIN_SCENES = 10_000
_TEST_SCENES = 4000
_RATES = (1e-3, 3e-3)  # learning rates to choose from
_DROPOUT = 0.3


def _report() -> str:
  """Parses the scenes, trains the readers that are missing, then reports."""
  jobs.check(_READERS, readers.NETWORKS)
  for number in _LABELS.value:
    if not number.isdecimal() or not 10 <= int(number) <= _TRAIN_SCENES:
      raise UserError(f'--labels: {number!r} is no integer in 10 .. {_TRAIN_SCENES}')
  if not jobs.REPORT.value:
    if not _RUN.value:
      raise UserError('--run is missing; it must be the folder of a finished run')
    # In a process of its own, for JAX has threads, and a process that has some cannot start others.
    parsing = [sys.executable, '-m', 'benchmarks.downstream', *sys.argv[1:], f'--one={_PARSE}']
    if code := subprocess.run(parsing, check=False).returncode:
      sys.exit(code)
  order = itertools.product(jobs.seeds(), _LABELS.value, _READERS.value, readers.TASKS)
  names = [f'{task}/{reader}/{labels}/{seed}' for seed, labels, reader, task in order]
  results = _BENCHMARK.run_all(names)
  _BENCHMARK.keep_figure('accuracy.png', curves(results))
  return table(results)


def _run(name: str) -> None:
  _parse_scenes() if name == _PARSE else _learn(name)


def _parse_scenes() -> None:
  """Writes the scenes of both splits and their codes to the folder, unless they are there."""
  from air_jax.data import loading
  from air_jax.inference import restore

  run = restore.restore(_RUN.value, {'data.counts': (2,), 'data.mnist_dir': jobs.MNIST_DIR.value})
  if run.config.data.source not in _SOURCES:
    raise UserError(
      f'--run={_RUN.value} was trained on {run.config.data.source!r}; it must be one of '
      f'{", ".join(_SOURCES)}'
    )
  origin = f'{run.folder.resolve()}, step {run.step}'
  data = dataclasses.replace(run.config.data, train_scenes=_TRAIN_SCENES, test_scenes=_TEST_SCENES)
  model = run.model(run.chosen(None))
  for split in ('train', 'test'):
    path = _BENCHMARK.folder() / f'{split}.npz'
    if path.is_file():
      with np.load(path) as arrays:
        if (before := str(arrays['origin'])) != origin:
          raise UserError(f'{path} was parsed by {before}, not by {origin}; take another --folder')
      continue
    path.parent.mkdir(parents=True, exist_ok=True)
    print(f'parsing the {split} scenes', flush=True)
    scenes = loading.load(data, split)
    parsed = model.parse(np.asarray(scenes.images))
    mean, std = (
      np.concatenate([getattr(parsed, f'z_{what}_{field}') for what in ('where', 'what')], -1)
      for field in ('mean', 'std')
    )
    # An object has no box where it was refused: its place is then that of its window.
    windows = data.canvas_size * (np.tanh(mean[:, :2, 1]) + 1) / 2
    places = np.where(parsed.boxes[:, :2, 3] > 0, _middles(parsed.boxes), windows)
    found = np.argsort(places, axis=1)
    true = np.argsort(_middles(np.asarray(scenes.boxes)), axis=1)
    parts: dict[str, Any] = {
      'origin': origin,
      'images': scenes.images,
      'mean': np.take_along_axis(mean, found[..., None], 1),
      'std': np.take_along_axis(std, found[..., None], 1),
      'digits': np.take_along_axis(np.asarray(scenes.labels), true, 1),
    }
    file = io.BytesIO()
    np.savez(file, **parts)
    files.write_atomic(path, file.getvalue())


def _middles(boxes: Float[np.ndarray, 'B N 4']) -> Float[np.ndarray, 'B 2']:
  """The x of the middles of the first two, in pixels."""
  return boxes[:, :2, 1] + boxes[:, :2, 3] / 2


def _read(split: str) -> readers.Pairs:
  with np.load(_BENCHMARK.folder() / f'{split}.npz') as arrays:
    codes = Normal(arrays['mean'], arrays['std'])
    return readers.Pairs(arrays['images'], codes, arrays['digits'])


def _learn(name: str) -> None:
  """Trains one reader at each rate, and tests the one that does best on labels held out."""
  task, reader, labels, seed = name.split('/')
  train, test = _read('train'), _read('test')
  chosen = np.random.default_rng(int(seed)).permutation(_TRAIN_SCENES)[: int(labels)]
  held_out = len(chosen) // 5
  own, validation = readers.take(train, chosen[held_out:]), readers.take(train, chosen[:held_out])
  network, steps = readers.NETWORKS[reader](task, _DROPOUT), _steps(len(chosen))
  fits = [readers.fit(network, rate, steps, own, validation, int(seed)) for rate in _RATES]
  best = max(fits, key=lambda found: found.score)
  accuracy, _ = best.evaluate(test)
  result = {'task': task, 'reader': reader, 'labels': int(labels), 'seed': int(seed)}
  jobs.finish(_BENCHMARK.folder(name), result | {'accuracy': accuracy})


def _steps(labels: int) -> int:
  """Updates: many epochs of few labels, some 30 of 10,000."""
  return int(600 + 2 * labels**0.85)


def _groups(results: Sequence[Result]) -> dict[tuple[str, str], dict[int, list[float]]]:
  """Accuracies in percent of all seeds, by task and reader, and by number of labels."""
  groups: dict[tuple[str, str], dict[int, list[float]]] = {}
  for task, reader in itertools.product(readers.TASKS, readers.NETWORKS):
    own = [run for run in results if (run['task'], run['reader']) == (task, reader)]
    if own:
      numbers = sorted({run['labels'] for run in own})
      groups[task, reader] = {
        number: [100 * run['accuracy'] for run in own if run['labels'] == number]
        for number in numbers
      }
  return groups


def table(results: Sequence[Result]) -> str:
  """A Markdown table: percent of answers right, the mean and the lowest and highest seed."""
  numbers = sorted({run['labels'] for run in results})
  lines = [
    f'| task | reader | {" | ".join(f"{number:,} labels" for number in numbers)} |',
    '|' + (2 + len(numbers)) * '---|',
  ]
  for (task, reader), found in _groups(results).items():
    cells = [
      f'{statistics.mean(found[n]):.1f} ({min(found[n]):.1f}-{max(found[n]):.1f})'
      if n in found
      else '-'
      for n in numbers
    ]
    lines.append(f'| {task} | `{reader}` | {" | ".join(cells)} |')
  return '\n'.join(lines)


def curves(results: Sequence[Result]) -> Figure:
  """Accuracy over the number of labels, a panel for each task."""
  figure = Figure(figsize=(9.0, 3.6), layout='constrained')
  axes = dict(zip(readers.TASKS, figure.subplots(1, len(readers.TASKS)), strict=True))
  for (task, reader), found in _groups(results).items():
    i = list(readers.NETWORKS).index(reader)
    numbers, values = list(found), list(found.values())
    axes[task].plot(
      numbers, [statistics.mean(each) for each in values], color=palette.line_colour(i),
      linestyle=palette.line_style(i), marker=palette.MARKERS[i], label=reader,
    )  # fmt: skip
    axes[task].fill_between(
      numbers,
      list(map(min, values)),
      list(map(max, values)),
      color=palette.line_colour(i),
      alpha=0.2,
    )
  for task, axis in axes.items():
    axis.set(title=task, xlabel='labelled scenes', ylabel='answers right, %', xscale='log')
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
  return figure


main = jobs.program(_run, _report)

if __name__ == '__main__':
  jobs.start(main)
