"""Speed of composing and of reading scenes.

    python -m benchmarks.data --what=compose
    python -m benchmarks.data --what=stream [--scenes=1000000] [--cache_dir=FOLDER]

`compose` prints scenes and objects per second on one core, for several data sets. `stream` builds
a data set on disk and trains on it twice, from memory and as a stream; their rounds alternate, so
both see the same other load on a shared machine. From 1,000,000 scenes on it only streams, and
prints the memory used. It uses MNIST if --mnist_dir names its folder, else the embedded digits.
"""

import contextlib
import dataclasses
import os
import statistics
import time
from typing import Any

from absl import app, flags

_WHAT = flags.DEFINE_enum('what', 'stream', ['compose', 'stream'], 'What to measure.')
_MNIST_DIR = flags.DEFINE_string('mnist_dir', '', 'Folder of the four IDX files of MNIST.')
_CACHE_DIR = flags.DEFINE_string(
  'cache_dir', '', 'Where data sets are built; default as in training.'
)
_SCENES = flags.DEFINE_integer('scenes', 60_000, 'Size of the data set that is streamed.')
_WORKERS = flags.DEFINE_integer('workers', 0, 'Processes that read the stream; 0: a thread.')
_ROUNDS = flags.DEFINE_integer('rounds', 15, 'Timed rounds.', lower_bound=1)
_STEPS = flags.DEFINE_integer('steps', 100, 'Training steps per round.', lower_bound=1)
_COMPOSED = 4096
_SETS: dict[str, dict[str, Any]] = {
  'disjoint, 0-2 on 50x50': {},
  'touching, 0-2 on 50x50': {'layout': 'touching'},
  'mixed sizes, 0-2 on 50x50': {'min_scale': 0.4, 'max_scale': 1.3},
  'over textures, 0-2 on 50x50': {'background': 'texture', 'noise': 0.05},
  'sprites, 0-2 on 50x50': {'source': 'sprites', 'colour': True},
  'disjoint, 0-9 on 100x100': {'canvas_size': 100, 'max_objects': 9},
}


def main(argv: list[str]) -> None:
  """Measures and prints."""
  del argv
  if _WHAT.value == 'compose':
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before JAX starts its threads
  from air_jax.config import schema as config_lib
  from air_jax.configs import default

  config = default.get_config()
  config.data.update(
    source='mnist' if _MNIST_DIR.value else 'digits',
    mnist_dir=_MNIST_DIR.value,
    cache_dir=_CACHE_DIR.value,
    train_scenes=_SCENES.value,
    workers=_WORKERS.value,
  )
  config = config_lib.parse(config)
  if _WHAT.value == 'compose':
    _compose(config.data)
  else:
    _stream(config)


def _compose(data: Any) -> None:
  from air_jax.data import composition, sources

  print(f'{"set":30} {"scenes/s":>10} {"objects/s":>10}   on one core')
  for name, changes in _SETS.items():
    changed = dataclasses.replace(data, **changes)
    glyphs = sources.read_glyphs(changed, 'train')
    times, count = [], 0
    for _ in range(4):
      started = time.perf_counter()
      count = sum(
        s.counts.sum() for s in composition.compose(changed, glyphs, 'train', 0, _COMPOSED)
      )
      times.append(time.perf_counter() - started)
    seconds = statistics.median(times[1:])  # the first compiles
    print(f'{name:30} {_COMPOSED / seconds:10,.0f} {count / seconds:10,.0f}')


def _stream(config: Any) -> None:
  from benchmarks import trainings

  readings = ['stream'] if _SCENES.value >= 1_000_000 else ['resident', 'stream']
  with contextlib.ExitStack() as stack:
    members, batch_sources, states = {}, {}, {}
    times: dict[str, list[float]] = {reading: [] for reading in readings}
    for reading in readings:
      data = dataclasses.replace(config.data, reading=reading)
      members[reading], source, states[reading] = trainings.prepare(
        dataclasses.replace(config, data=data)
      )
      batch_sources[reading] = stack.enter_context(contextlib.closing(source))
    for round_number in range(_ROUNDS.value + 1):
      for reading, source in batch_sources.items():
        started = time.perf_counter()
        start = round_number * _STEPS.value
        states[reading] = trainings.advance(
          members[reading], source, states[reading], start, _STEPS.value
        )
        if round_number:  # the first compiles
          times[reading].append((time.perf_counter() - started) / _STEPS.value)
    memory = _memory()
  medians = {reading: statistics.median(values) for reading, values in times.items()}
  for reading, median in medians.items():
    print(f'{reading:10} {median * 1e3:8.2f} ms per step, {1 / median:6.1f} steps/s')
  if 'resident' in medians:
    print(f'stream / resident {medians["stream"] / medians["resident"]:8.3f} in time per step')
  print(f'memory     {memory:8.2f} GB resident, this process and its workers')


def _memory() -> float:
  """GB used by this process and its children; a page shared by n processes counts 1 / n each."""
  total = 0
  for process in [os.getpid(), *_children(os.getpid())]:
    with open(f'/proc/{process}/smaps_rollup') as file:
      total += next(int(line.split()[1]) for line in file if line.startswith('Pss:'))
  return total / 2**20


def _children(process: int) -> list[int]:
  with open(f'/proc/{process}/task/{process}/children') as file:
    children = [int(child) for child in file.read().split()]
  return children + [grand for child in children for grand in _children(child)]


if __name__ == '__main__':
  app.run(main)
