"""Speed of a training step, and of a matrix product on the same machine.

    python -m benchmarks.throughput [--config=configs/multi_digits.py]

Rounds of training and of a float32 matrix product alternate, so that both see the same other load
on a shared machine. Medians are reported, after a warm-up. The work of a step is XLA's own cost
analysis of it.
"""

import pathlib
import resource
import statistics
import time

import jax
import jax.numpy as jnp
from absl import app, flags
from ml_collections import config_flags

from air_jax.config import schema
from air_jax.data.batches import BatchSource
from air_jax.training import population, train_step
from air_jax.training.population import Population
from air_jax.training.train_step import TrainState
from benchmarks import trainings

_DEFAULT = pathlib.Path(__file__).parent.parent / 'configs' / 'multi_digits.py'
_CONFIG = config_flags.DEFINE_config_file('config', str(_DEFAULT), 'What to train.')
_ROUNDS = flags.DEFINE_integer('rounds', 15, 'Timed rounds.', lower_bound=1)
_STEPS = flags.DEFINE_integer('steps', 50, 'Training steps per round.', lower_bound=1)
_MATRIX = 2048  # side of the matrices in the reference product


def main(argv: list[str]) -> None:
  """Measures and prints."""
  del argv
  config = schema.parse(_CONFIG.value)
  members, source, states = trainings.prepare(config)
  size, steps = config.train.population, _STEPS.value
  flops = _flops_of_a_step(members, source, states)
  matrix = jnp.ones((_MATRIX, _MATRIX), jnp.float32)
  product = jax.jit(jnp.matmul)

  started = time.perf_counter()
  states = trainings.advance(members, source, states, 0, steps)
  first_chunk = time.perf_counter() - started
  jax.block_until_ready(product(matrix, matrix))
  step_times, product_times = [], []
  for _ in range(_ROUNDS.value):
    started = time.perf_counter()
    states = trainings.advance(members, source, states, 0, steps)
    step_times.append((time.perf_counter() - started) / steps / size)
    for _ in range(5):
      started = time.perf_counter()
      jax.block_until_ready(product(matrix, matrix))
      product_times.append(time.perf_counter() - started)

  step, batch = statistics.median(step_times), config.train.batch_size
  rate, reference = flops / step / 1e9, 2 * _MATRIX**3 / statistics.median(product_times) / 1e9
  fastest = min(step_times)
  memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  device = jax.devices()[0]
  print(f'device               {device.platform}, {device.device_kind}')
  print(f'objective            {config.objective.name}')
  print(f'members              {size:10}, all values are per member')
  print(f'first chunk          {first_chunk:10.1f} s with compilation')
  print(
    f'time per step        {step * 1e3:10.2f} ms at batch {batch} ({fastest * 1e3:.2f} at best)'
  )
  print(f'throughput           {batch / step:10,.0f} images/s')
  print(f'work per step        {flops / 1e9:10.3f} GFLOP by XLA')
  print(f'rate                 {rate:10.1f} GFLOP/s')
  print(f'reference            {reference:10.1f} GFLOP/s, float32 product of {_MATRIX} x {_MATRIX}')
  print(f'rate / reference     {rate / reference:10.1%}')
  print(f'peak memory          {memory:10.2f} GB resident')


def _flops_of_a_step(members: Population, source: BatchSource, states: TrainState) -> float:
  indices = jax.tree.map(lambda x: x[0], source.sample_indices(0, 0, 1))
  batch = source.gather(source.arrays, indices)
  learner, state = population.member(members.learner, 0), population.member(states, 0)
  step = jax.jit(train_step.train_step)
  return step.lower(learner, state, *batch).compile().cost_analysis()['flops']


if __name__ == '__main__':
  app.run(main)
