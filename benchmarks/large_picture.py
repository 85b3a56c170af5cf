"""Whether every object of a large picture is found once, in how much memory and time.

    python -m benchmarks.large_picture --seeds=1 [--side=10000] [--steps=1500]
        [--folder=runs/large_picture] [--kept=docs/large_picture/results.json]
    python -m benchmarks.large_picture --report     only reports the results so far

Discs, rings and triangles of 18 to 28 pixels are drawn on an uneven ground with noise, no two
touching. configs/folder.py is trained on a picture of 2,000 x 2,000 pixels of them, then
`--mode=parse` reads one of side x side. An object is found where a label has an IoU of at least 0.5
with it, which no second one can have; more labels than objects are false or double. Memory is the
peak of the parsing process.
"""

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from absl import flags
from jaxtyping import Bool, Int32, UInt8
from PIL import Image

from air_jax.data import image_files
from air_jax.errors import UserError
from benchmarks import jobs
from benchmarks.jobs import Result

_SIDE = flags.DEFINE_integer('side', 10_000, 'Pixels along a side.', lower_bound=100)
_BENCHMARK = jobs.Benchmark('large_picture', ('side', 'seed', 'steps'))
_STEPS, _TRAINED = 1500, 2000
_CELL, _FILLED = 40, 0.5  # pixels of the squares that hold an object or none, share that do
_RADII = 9.0, 14.0  # pixels
_PIXELS = 24.0
_LEAST_IOU = 0.5


class Drawn(NamedTuple):
  """An object of a picture."""

  corner: tuple[int, int]  # (top, left) of its square
  mask: Bool[np.ndarray, '40 40']


def _report() -> str:
  """Trains and parses what is missing, then reports."""
  steps = jobs.STEPS.value or _STEPS
  names = [f'{_SIDE.value}/{seed}/{steps}' for seed in jobs.seeds()]
  return table(_BENCHMARK.run_all(names))


def objects(side: int, seed: int) -> Iterator[Drawn]:
  """The objects of a picture, one after the other."""
  generator = np.random.default_rng([seed, side])
  y, x = np.indices((_CELL, _CELL))
  for top in range(0, side - _CELL + 1, _CELL):
    for left in range(0, side - _CELL + 1, _CELL):
      radius, kind = generator.uniform(*_RADII), generator.integers(3)
      middle = generator.uniform(radius + 2, _CELL - radius - 2, 2)
      if generator.uniform() > _FILLED:
        continue
      down, across = y - middle[0], x - middle[1]
      mask = down**2 + across**2 < radius**2
      if kind == 1:  # a ring
        mask &= down**2 + across**2 > (radius / 2) ** 2
      if kind == 2:  # a triangle in the circle
        mask &= (down < radius / 2) & (np.abs(across) < (down + radius) / np.sqrt(3.0))
      yield Drawn((top, left), mask)


def draw(side: int, seed: int) -> UInt8[np.ndarray, 'S S']:
  """A picture of these objects."""
  generator = np.random.default_rng([seed, side, 1])
  at = np.arange(side) / 300
  picture = np.empty((side, side), np.uint8)
  for row, light in zip(picture, 60 + 20 * np.sin(at), strict=True):
    row[:] = np.clip(light + 15 * np.cos(at) + generator.normal(0, 5, side), 0, 255)
  for (top, left), mask in objects(side, seed):
    place = picture[top : top + _CELL, left : left + _CELL]
    bright = generator.uniform(130, 230) + generator.normal(0, 5, mask.sum())
    place[mask] = np.clip(bright, 0, 255)
  return picture


def found(labels: Int32[np.ndarray, 'S S'], seed: int) -> tuple[int, int]:
  """How many of the objects are found, of how many."""
  areas = np.bincount(labels.ravel())
  right = number = 0
  for (top, left), mask in objects(len(labels), seed):
    here = labels[top : top + _CELL, left : left + _CELL][mask]
    shared = np.bincount(here)
    shared[0] = 0
    ious = shared / (areas[: len(shared)] + mask.sum() - shared)
    right += int(ious.max() >= _LEAST_IOU)
    number += 1
  return right, number


def _run(name: str) -> None:
  """Trains on a small picture, unless another run has, and parses a large one."""
  side, seed, steps = map(int, name.split('/'))
  work, trained = map(_BENCHMARK.folder, (name, f'trained/{seed}/{steps}'))
  for path, pixels, number in ((trained, _TRAINED, seed), (work, side, seed + 1000)):
    (path / 'pictures').mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(pixels, number)).save(path / 'pictures' / 'picture.png')
  data = {'dir': trained / 'pictures', 'object_pixels': _PIXELS}
  train = {'steps': steps, 'eval_every': steps, 'checkpoint_every': 500, 'draw_every': 0}
  changes = [
    *(f'--config.data.{key}={value}' for key, value in data.items()),
    *(f'--config.train.{key}={value}' for key, value in train.items()),
  ]
  run, parsed = f'--workdir={trained / "run"}', work / 'parsed'
  _air_jax('--config=folder', f'--config.seed={seed}', *changes, run)
  started = time.monotonic()
  peak = _air_jax('--mode=parse', run, f'--images={work / "pictures"}', f'--out={parsed}')
  seconds = time.monotonic() - started
  labels = _labels(parsed / 'labels')
  right, number = found(labels, seed + 1000)
  known = {'side': side, 'seed': seed, 'steps': steps, 'objects': number, 'found_objects': right}
  measured = {'labels': int(labels.max()), 'seconds': round(seconds), 'memory_mb': peak // 1024}
  jobs.finish(work, known | measured)


def _air_jax(*arguments: str) -> int:
  """Runs the command `air-jax`; returns the peak of its memory in KiB."""
  child = subprocess.Popen([sys.executable, '-m', 'air_jax', *arguments])
  # Of this child alone: RUSAGE_CHILDREN is the largest of all.
  _, status, usage = os.wait4(child.pid, 0)
  child.returncode = os.waitstatus_to_exitcode(status)
  if child.returncode:
    raise UserError(f'air-jax {" ".join(arguments)} ended with code {child.returncode}')
  return usage.ru_maxrss


def _labels(folder: pathlib.Path) -> Int32[np.ndarray, 'S S']:
  files, _ = image_files.find(folder)
  pixels = image_files.read(files[0])
  return pixels.reshape(pixels.shape[:2]).astype(np.int32)


def table(results: Sequence[Result]) -> str:
  """A Markdown table of the runs."""
  lines = ['| side | seed | objects | found, % | labels | seconds | peak MB |', '|' + 7 * '---|']
  for run in sorted(results, key=_BENCHMARK.name_of):
    share = f'{100 * run["found_objects"] / run["objects"]:.2f}'
    numbers = run['labels'], run['seconds'], run['memory_mb']
    cells = f'{run["side"]:,}', str(run['seed']), f'{run["objects"]:,}', share
    lines.append('| ' + ' | '.join([*cells, *(f'{number:,}' for number in numbers)]) + ' |')
  return '\n'.join(lines)


main = jobs.program(_run, _report)

if __name__ == '__main__':
  jobs.start(main)
