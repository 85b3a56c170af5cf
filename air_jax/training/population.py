"""Many runs in one program: members of other seeds and, where asked, of other numbers.

A member is a run like any other: what it learns is what a run by itself of its seed and its numbers
would, to rounding. A single run is a population of one.

Devices form a mesh of two axes: `members`, which shares out the members, and `data`, which shares
out each batch. What a device lacks of either, XLA fetches from the others; nothing else knows. The
devices may be those of several processes, each of which puts in place what its own ones need.
"""

import dataclasses
import functools
import math
import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from air_jax.config import schema as config_lib
from air_jax.errors import UserError
from air_jax.training import train_step


class Population(NamedTuple):
  """What stays while its members learn."""

  config: config_lib.Config  # static; that of all but for their numbers
  numbers: dict  # from dotted keys of the configuration to [N], a number for each member
  learners: tuple  # N `Learner`s, to use the members one by one
  mesh: Mesh | None  # of the devices, over `members` and `data`; None: there is one device


def make(config):
  """Founds the population of a configuration, and spreads it over all devices.

  As many devices as divide both their number and the population's have members of their own; where
  more are left, that many share the batches of each member.

  Args:
    config: `Config`.

  Returns:
    `Population`.
  """
  own, mesh = own_numbers(config), _mesh(config.train.population)
  kinds = {key: np.uint32 if key == 'seed' else np.float32 for key in own}
  numbers = {key: np.array(own[key], kinds[key]) for key in own}
  numbers = _put(numbers, mesh, 'members')
  each = [dict(zip(own, values, strict=True)) for values in zip(*own.values(), strict=True)]
  learners = _learners(config, each)
  # Not static, so that other seeds and numbers are no reason to compile anew.
  shared = with_numbers(config, dict.fromkeys(own, 0))
  return Population(shared, numbers, learners, mesh)


def own_numbers(config):
  """What the members of a population do not share.

  Args:
    config: `Config`.

  Returns:
    dict from dotted keys, `seed` among them, to a number for each member.
  """
  size = config.train.population
  own = {'seed': tuple(range(config.seed, config.seed + size))}
  for name, values in dataclasses.asdict(config.members).items():
    if values:
      section = 'train' if hasattr(config.train, name) else 'model'
      own[f'{section}.{name}'] = values
  return own


def with_numbers(config, numbers):
  """The configuration of one member, as that of a run by itself.

  Args:
    config: `Config` of the population.
    numbers: dict from dotted keys to the member's number, which jit or vmap may trace.

  Returns:
    `Config`.
  """
  shared = config_lib.MembersConfig(*(() for _ in dataclasses.fields(config_lib.MembersConfig)))
  train = dataclasses.replace(config.train, population=1)
  config = dataclasses.replace(config, train=train, members=shared)
  for key, number in numbers.items():
    section, _, name = key.rpartition('.')
    if section:
      name, number = section, dataclasses.replace(getattr(config, section), **{name: number})
    config = dataclasses.replace(config, **{name: number})
  return config


def init(population):
  """The members' states before the first step: a `TrainState` with a leading [N]."""
  return _init(population.config, population.mesh, population.numbers)


def place(population, states):
  """Spreads states, such as those of a checkpoint, over the devices."""
  return _put(states, population.mesh, 'members')


def member(states, index):
  """The state of one member, on one device, to use as that of a run by itself."""
  return jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[index]), states)


def share(population, source):
  """The batch source with its arrays on every device, where there are several."""
  return source._replace(arrays=_put(source.arrays, population.mesh))


def share_of_batch(population, batch_size):
  """The part of each batch that the devices of this process need.

  Args:
    population: `Population`.
    batch_size: B, over all devices.

  Returns:
    slice of [B].

  Raises:
    UserError: the devices cannot share a batch evenly.
  """
  shares = _batch_shares(population)
  if batch_size % shares:
    raise UserError(
      f'config.train.batch_size={batch_size} is not allowed; it must be a multiple of {shares}, '
      f'for so many of the {jax.device_count()} devices share a batch of each of '
      f'config.train.population={len(population.learners)} members'
    )
  return _own_part(population, batch_size)[1]


def advance(population, source, states, start, steps):
  """Makes many updates of every member in one call.

  Args:
    population: `Population`.
    source: `data.batches.BatchSource`.
    states: `TrainState` with a leading [N], which is used up.
    start: the step they are at.
    steps: how many to make.

  Returns:
    (`TrainState` with a leading [N], reports of `learner.train_step` with a leading [steps, N]).
  """
  return _advance(*_arguments(population, source, states, start, steps))


def compiled(population, source, states, steps):
  """The program of `advance`, as a `jax.stages.Compiled`, to look at."""
  return _advance.lower(*_arguments(population, source, states, 0, steps)).compile()


def check(population, source, batch_size):
  """Refuses to train a population that the devices cannot hold.

  Raises:
    UserError: with what it needs and what there is.
  """
  size = len(population.learners)
  need, have = needed_bytes(population, source, batch_size), _device_bytes()
  if need > have:
    raise UserError(
      f'config.train.population={size} needs about {need / 1e9:.1f} GB of memory, and the devices '
      f'have {have / 1e9:.1f} GB; about {int(size * have / need)} members fit, or a smaller '
      'train.batch_size'
    )


def needed_bytes(population, source, batch_size):
  """An estimate of the memory that training takes, without compiling it.

  Args:
    population: `Population`.
    source: `data.batches.BatchSource`.
    batch_size: B.

  Returns:
    bytes on all devices: of the data, and for each member of its state, its gradient and update,
    and what back-propagation keeps.
  """
  first = population.learners[0]
  model = first.config.model
  state = jax.eval_shape(lambda: train_step.init(first))
  images = jax.ShapeDtypeStruct(
    (batch_size, model.canvas_size, model.canvas_size, model.channels), jnp.uint8
  )

  def kept(params, images):
    return jax.vjp(
      lambda p: train_step.mean_loss(first, p, 0, images, jax.random.key(0))[0], params
    )

  activations = jax.eval_shape(kept, state.params, images)
  whole = _bytes(state) + 2 * _bytes(state.params)  # on every device that shares the batch
  each = _batch_shares(population) * whole + _bytes(activations)
  devices = population.mesh.size if population.mesh else 1
  return len(population.learners) * each + devices * _bytes(source.arrays)


def _arguments(population, source, states, start, steps):
  static = population.config, source.gather, population.mesh
  drawn = _draw(population, source, start, steps)
  return *static, population.numbers, states, source.arrays, drawn


def _draw(population, source, start, steps):
  """What a batch source samples for the members' next steps: arrays with leading [steps, N]."""
  sizes = steps, len(population.learners), population.config.train.batch_size
  own = _own_part(population, sizes[2])
  parts = [
    source.sample_indices(each.config.seed, start, steps) for each in population.learners[own[0]]
  ]
  if len(parts) == 1:  # to copy what was read would take as long as reading it
    drawn = jax.tree.map(lambda x: x[:, None], parts[0])
  else:
    drawn = jax.tree.map(lambda *x: np.stack(x, 1), *parts)
  if population.mesh is None:
    return drawn

  def spread(x):
    axes = (None, 'members', 'data')[: x.ndim]  # what has no [B] is drawn for the whole batch
    shape, firsts = sizes[: x.ndim] + x.shape[3:], (0, *(part.start for part in own))

    def wanted(index):
      index = _bounded(index, shape)[:3]
      pairs = zip(index, firsts, strict=False)
      return x[tuple(slice(i.start - first, i.stop - first) for i, first in pairs)]

    return jax.make_array_from_callback(shape, _sharding(population.mesh, *axes), wanted)

  return jax.tree.map(spread, drawn)


def _own_part(population, batch_size):
  """The members and the part of their batches that this process' devices share, as two slices."""
  shape = len(population.learners), batch_size
  if population.mesh is None:
    return _bounded(2 * (slice(None),), shape)
  sharding = _sharding(population.mesh, 'members', 'data')
  own = sharding.addressable_devices_indices_map(shape).values()
  own = [_bounded(index, shape) for index in own]
  return tuple(
    slice(min(i.start for i in x), max(i.stop for i in x)) for x in zip(*own, strict=True)
  )


def _bounded(index, shape):
  """Slices with both their ends."""
  return tuple(slice(*i.indices(size)[:2]) for i, size in zip(index, shape, strict=True))


def _learners(config, numbers):
  """A learner for each member; those of equal models share the functions, and so what compiles."""
  base = train_step.make(with_numbers(config, numbers[0]))
  return tuple(train_step.make(with_numbers(config, own), base.model.networks) for own in numbers)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _init(config, mesh, numbers):
  def init_one(own):
    return train_step.init(train_step.make(with_numbers(config, own)))

  return _constrain(jax.vmap(init_one)(numbers), mesh, 'members')


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def _advance(config, fetch, mesh, numbers, states, data, drawn):
  def step_one(own, state, drawn):
    learning = train_step.make(with_numbers(config, own))
    images, counts = fetch(data, drawn)
    images = _constrain(images, mesh, 'data')  # all that is done for each image follows
    return train_step.train_step(learning, state, images, counts)

  def body(states, drawn):
    return jax.vmap(step_one, spmd_axis_name='members' if mesh else None)(numbers, states, drawn)

  states, reports = jax.lax.scan(body, states, drawn)
  return states, _constrain(reports, mesh)  # for every process to read


def _mesh(size):
  devices = jax.device_count()
  if devices == 1:
    return None
  apart = math.gcd(size, devices)
  shape = apart, devices // apart
  return jax.make_mesh(shape, ('members', 'data'), axis_types=2 * (AxisType.Auto,))


def _sharding(mesh, *axes):
  """How arrays lie whose leading axes are shared out so; without axes, whole on every device."""
  return NamedSharding(mesh, PartitionSpec(*axes))


def _constrain(tree, mesh, *axes):
  """The same arrays inside a jitted function, to lie so."""
  return jax.lax.with_sharding_constraint(tree, _sharding(mesh, *axes)) if mesh else tree


def _put(tree, mesh, *axes):
  """Arrays that every process has in full, put on the devices so."""
  if mesh is None:
    return jax.device_put(tree)
  sharding = _sharding(mesh, *axes)

  def put(x):
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

  return jax.tree.map(put, tree)


def _batch_shares(population):
  """How many devices share each batch."""
  return population.mesh.shape['data'] if population.mesh else 1


def _bytes(tree):
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _device_bytes():
  """Memory of all devices together; the CPU devices of a process share the machine's."""
  devices = jax.local_devices()
  if devices[0].platform == 'cpu':
    own = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  else:
    own = sum(device.memory_stats()['bytes_limit'] for device in devices)
  return own * jax.process_count()
