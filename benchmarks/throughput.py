"""How fast one training step is, beside what the machine can do.

    python -m benchmarks.throughput [--config=configs/multi_digits.py]

Rounds of training and of a plain float32 matrix product alternate, so that both see the same
neighbours on a shared machine; medians are reported, after a warm-up. The work of a step is XLA's
own cost analysis of it. Prints one table.
"""

import functools
import pathlib
import resource
import statistics
import time

import jax
import jax.numpy as jnp
from absl import app, flags
from ml_collections import config_flags

from air_jax.config import schema as config_lib
from air_jax.data import loading
from air_jax.training import population, train_step

_DEFAULT = pathlib.Path(__file__).parent.parent / 'configs' / 'multi_digits.py'
_CONFIG = config_flags.DEFINE_config_file('config', str(_DEFAULT), 'What to train.')
_ROUNDS = flags.DEFINE_integer('rounds', 15, 'Timed rounds.', lower_bound=1)
_STEPS = flags.DEFINE_integer('steps', 50, 'Training steps a round.', lower_bound=1)
_MATRIX = 2048  # side of the matrices in the reference product


def main(argv):
  """Measures and prints."""
  del argv
  config = config_lib.parse(_CONFIG.value)
  members = population.make(config)
  source = population.share(members, loading.batch_source(config.data, config.train.batch_size))
  states, size = population.init(members), config.train.population
  flops = _flops_of_a_step(members, states, source)
  matrix = jnp.ones((_MATRIX, _MATRIX), jnp.float32)
  product = jax.jit(jnp.matmul)

  started = time.perf_counter()
  states, _ = jax.block_until_ready(_train(members, states, source))
  first_chunk = time.perf_counter() - started
  jax.block_until_ready(product(matrix, matrix))
  step_times, product_times = [], []
  for _ in range(_ROUNDS.value):
    started = time.perf_counter()
    states, _ = jax.block_until_ready(_train(members, states, source))
    step_times.append((time.perf_counter() - started) / _STEPS.value / size)
    for _ in range(5):
      started = time.perf_counter()
      jax.block_until_ready(product(matrix, matrix))
      product_times.append(time.perf_counter() - started)

  step, batch = statistics.median(step_times), config.train.batch_size
  rate, reference = flops / step / 1e9, 2 * _MATRIX**3 / statistics.median(product_times) / 1e9
  quickest = min(step_times)
  memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  device = jax.devices()[0]
  print(f'device               {device.platform}, {device.device_kind}')
  print(f'objective            {config.objective.name}')
  print(f'members              {size:10}, figures are for each')
  print(f'first chunk          {first_chunk:10.1f} s, compilation included')
  print(
    f'time a step          {step * 1e3:10.2f} ms at batch {batch} ({quickest * 1e3:.2f} at best)'
  )
  print(f'throughput           {batch / step:10,.0f} images/s')
  print(f'work a step          {flops / 1e9:10.3f} GFLOP by XLA')
  print(f'rate                 {rate:10.1f} GFLOP/s')
  print(f'reference            {reference:10.1f} GFLOP/s, float32 product of {_MATRIX} x {_MATRIX}')
  print(f'share of reference   {rate / reference:10.1%}')
  print(f'peak memory          {memory:10.2f} GB resident')


def _train(members, states, source):
  return population.advance(members, source, states, 0, _STEPS.value)


def _flops_of_a_step(members, states, source):
  drawn = jax.tree.map(lambda x: x[0], source.sample_indices(0, 0, 1))
  batch = source.gather(source.arrays, drawn)
  step = jax.jit(functools.partial(train_step.train_step, members.learners[0]))
  state = population.member(states, 0)
  return step.lower(state, *batch).compile().cost_analysis()['flops']


if __name__ == '__main__':
  app.run(main)
