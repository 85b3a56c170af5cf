"""Images parsed per second, and peak memory by the number of images.

    python -m benchmarks.parsing [--workdir=FOLDER] [--batch=256]

Without a run, an untrained model of configs/multi_digits.py is measured: its cost is the same.
Rounds of parsing and of a float32 matrix product alternate; medians are reported, after a warm-up.
Peak memory is that of a process that parses all these images, one batch after another.
"""

import pathlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

import air_jax
from air_jax.config import schema
from air_jax.configs import multi_digits
from air_jax.inference import predictor
from air_jax.model import air

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run.')
_BATCH = flags.DEFINE_integer('batch', 256, 'Images at once.', lower_bound=1)
_ROUNDS = flags.DEFINE_integer('rounds', 15, 'Timed rounds.', lower_bound=1)
_ONLY = flags.DEFINE_integer('only', 0, 'Parse this many images, print peak memory, and end.')
_BATCHES = 10  # a round
_MATRIX = 2048  # side of the matrices in the reference product
_NUMBERS = 1_000, 10_000, 100_000


def main(argv: list[str]) -> None:
  """Measures and prints."""
  del argv
  logging.set_verbosity(logging.WARNING)  # orbax logs every rename
  model = _load()
  if _ONLY.value:
    for _ in model.parse_each(_batches(model, -(-_ONLY.value // _BATCH.value))):
      pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
    return
  matrix, product = jnp.ones((_MATRIX, _MATRIX), jnp.float32), jax.jit(jnp.matmul)
  rounds, products = [], []
  for _ in range(1 + _ROUNDS.value):
    batches = list(_batches(model, _BATCHES))
    started = time.perf_counter()
    for _ in model.parse_each(batches):
      pass
    rounds.append((time.perf_counter() - started) / _BATCHES)
    started = time.perf_counter()
    jax.block_until_ready(product(matrix, matrix))
    products.append(time.perf_counter() - started)
  batch, reference = (statistics.median(times[1:]) for times in (rounds, products))
  side, steps = model.config.data.canvas_size, model.config.model.max_steps
  print(f'images               {side}x{side}, {steps} inference steps, {_BATCH.value} at once')
  print(f'throughput           {_BATCH.value / batch:10,.0f} images/s')
  print(f'a batch              {batch * 1e3:10.1f} ms ({min(rounds) * 1e3:.1f} at best)')
  print(
    f'reference            {reference * 1e3:10.1f} ms, float32 product of {_MATRIX} x {_MATRIX}'
  )
  for number in _NUMBERS:
    command = [sys.executable, '-m', 'benchmarks.parsing', f'--only={number}']
    command += [f'--batch={_BATCH.value}']
    command += [f'--workdir={_WORKDIR.value}'] if _WORKDIR.value else []
    root = pathlib.Path(__file__).parent.parent
    out = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    print(f'peak memory          {float(out):10.0f} MB after {number:,} images')


def _load() -> predictor.Model:
  if _WORKDIR.value:
    return air_jax.load(_WORKDIR.value)
  config = schema.parse(multi_digits.get_config())
  model = air.build(config.model)
  return predictor.Model(config, model, air.init(model, jax.random.key(0)), step=0)


def _batches(model: predictor.Model, number: int) -> Iterator[np.ndarray]:
  """Batches of noise, made on demand: the cost does not depend on the content."""
  generator = np.random.default_rng(0)
  side, channels = model.config.data.canvas_size, model.config.model.channels
  for _ in range(number):
    yield generator.integers(0, 256, (_BATCH.value, side, side, channels), np.uint8)


if __name__ == '__main__':
  app.run(main)
