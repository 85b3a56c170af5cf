"""Many runs in one program: members of different seeds and, where asked, of different numbers.

A member learns what a run by itself of its seed and its numbers would, to rounding. A single run is
a population of one.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from air_jax.config.members import member_config
from air_jax.config.sections import Config
from air_jax.data.batches import BatchSource
from air_jax.errors import UserError
from air_jax.runtime import jit
from air_jax.training import sharding, train_step
from air_jax.training.train_step import Learner, TrainState

StepFn = Callable[..., tuple[Any, dict[str, jax.Array]]]  # member, state, images, counts


class Population(NamedTuple):
  """What stays while its members learn."""

  learner: Learner  # with a leading [N] on its numbers
  seeds: tuple[int, ...]  # [N]
  mesh: Mesh | None  # of the devices; None: there is one device
  batch_size: int


def build(config: Config) -> Population:
  """Builds the population of a configuration and shards its members over all devices.

  Raises:
    UserError: an import path in the configuration cannot be used.
  """
  size = config.train.population
  mesh = sharding.make_mesh(size)
  learners = [train_step.build(member_config(config, i)) for i in range(size)]
  stacked = jax.tree.map(_stack, *learners)
  seeds = tuple(int(learner.seed) for learner in learners)
  return Population(sharding.put(stacked, mesh, 'members'), seeds, mesh, config.train.batch_size)


def init(population: Population) -> TrainState:
  """The members' states before the first step, with a leading [N]."""
  return _init_once(population.mesh, population.learner)


def shapes(population: Population) -> TrainState:
  """Shapes and types of the members' states, without computing them."""
  return jax.eval_shape(functools.partial(_init, population.mesh), population.learner)


def place(population: Population, states: TrainState) -> TrainState:
  """Puts states, such as those of a checkpoint, on the devices."""
  return sharding.put(states, population.mesh, 'members')


def member(tree: Any, index: int) -> Any:
  """What belongs to one member, of a learner or of states with a leading [N], on one device."""
  return jax.tree.map(lambda x: jax.device_put(np.array(np.asarray(x)[index])), tree)


def replicate(population: Population, source: BatchSource) -> BatchSource:
  """The batch source with its arrays on every device, where there are several."""
  return source._replace(arrays=sharding.put(source.arrays, population.mesh))


def batch_shard(population: Population) -> slice:
  """The part of each batch that the devices of this process need.

  Raises:
    UserError: the devices cannot share a batch evenly.
  """
  shards, members = sharding.batch_shards(population.mesh), len(population.seeds)
  if population.batch_size % shards:
    raise UserError(
      f'config.train.batch_size={population.batch_size} is not allowed; it must be a multiple of '
      f'{shards}, since that many of the {jax.device_count()} devices share a batch of each of '
      f'config.train.population={members} members'
    )
  return sharding.own_shard(population.mesh, members, population.batch_size)[1]


def advance(
  step_fn: StepFn,
  population: Population,
  source: BatchSource,
  states: Any,
  start: int,
  steps: int,
) -> tuple[Any, dict[str, jax.Array]]:
  """Makes many updates of every member in one call.

  Args:
    step_fn: (member's learner, member's state, images [B, H, W, C] uint8, counts [B] or None) ->
      (state, dict of scalars), such as `train_step.train_step`; pure, and hashable: it is compiled.
    population: its members.
    source: where batches come from.
    states: with a leading [N]; donated.
    start: the step they are at.
    steps: how many to make.

  Returns:
    (states with a leading [N], reports of the step with leading [steps, N]).
  """
  return _advance(*_arguments(step_fn, population, source, states, start, steps))


def compile_ahead(
  step_fn: StepFn, population: Population, expected: BatchSource, start: int, steps: int
) -> None:
  """Compiles the program of `advance` from shapes; a call of it then finds the program.

  Args:
    step_fn: as `advance` takes it.
    population: its members.
    expected: a batch source with shapes in place of arrays.
    start: as `advance` takes it.
    steps: as `advance` takes it.
  """
  source = expected._replace(arrays=sharding.shapes(expected.arrays, population.mesh))
  states = sharding.shapes(shapes(population), population.mesh, 'members')
  _advance.lower(*_arguments(step_fn, population, source, states, start, steps)).compile()


def compiled(
  step_fn: StepFn, population: Population, source: BatchSource, states: Any, steps: int
) -> jax.stages.Compiled:
  """The program of `advance`, to look at."""
  return _advance.lower(*_arguments(step_fn, population, source, states, 0, steps)).compile()


def _arguments(step_fn, population, source, states, start, steps):
  static = step_fn, source.gather, population.mesh
  indices = _sample_indices(population, source, start, steps)
  return *static, population.learner, states, source.arrays, indices


def _sample_indices(population, source, start, steps):
  """What a batch source samples for the members' next steps: arrays with leading [steps, N]."""
  sizes = steps, len(population.seeds), population.batch_size
  own, _ = sharding.own_shard(population.mesh, *sizes[1:])
  parts = [source.sample_indices(seed, start, steps) for seed in population.seeds[own]]
  if len(parts) == 1:  # to copy what was read would take as long as reading it
    sampled = jax.tree.map(lambda x: x[:, None], parts[0])
  else:
    sampled = jax.tree.map(lambda *x: np.stack(x, 1), *parts)
  if population.mesh is None:
    return sampled
  return jax.tree.map(lambda x: sharding.from_own_shard(x, population.mesh, sizes), sampled)


@functools.partial(jax.jit, static_argnums=0)
def _init(mesh, learner):
  return sharding.constrain(jax.vmap(train_step.init)(learner), mesh, 'members')


# Runs once, so it is compiled in less time, without optimisations.
_init_once = jax.jit(
  _init,
  static_argnums=0,
  compiler_options={'xla_backend_optimization_level': 0, 'xla_cpu_use_fusion_emitters': False},
)


@jit.quick(static_argnums=(0, 1, 2), donate_argnums=4)
def _advance(step_fn, gather, mesh, learner, states, arrays, indices):
  def step_one(learner, state, indices):
    images, counts = gather(arrays, indices)
    images = sharding.constrain(images, mesh, 'data')  # all that is done for each image follows
    return step_fn(learner, state, images, counts)

  def body(states, indices):
    axis = 'members' if mesh else None
    return jax.vmap(step_one, spmd_axis_name=axis)(learner, states, indices)

  states, reports = jax.lax.scan(body, states, indices)
  return states, sharding.constrain(reports, mesh)  # for every process to read


def _stack(*numbers):
  """[N] of a number that members have each their own of; seeds are the only whole ones."""
  return np.array(numbers, np.uint32 if isinstance(numbers[0], np.uint32) else np.float32)
