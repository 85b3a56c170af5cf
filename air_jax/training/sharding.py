"""How arrays lie on devices: a mesh of two axes, `members` and `data`.

`members` shards the members of a population, `data` shards each batch. XLA inserts the collectives;
no other module deals with sharding. The devices may belong to several processes, each of which
provides what its own devices need.
"""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh(members: int) -> Mesh | None:
  """The mesh of all devices for a population; None where there is one device.

  As many devices as divide both their number and the population's have members of their own; where
  more are left, that many shard the batches of each member.
  """
  devices = jax.device_count()
  if devices == 1:
    return None
  own = math.gcd(members, devices)
  shape = own, devices // own
  return jax.make_mesh(shape, ('members', 'data'), axis_types=2 * (AxisType.Auto,))


def constrain(tree: Any, mesh: Mesh | None, *axes: str | None) -> Any:
  """The same arrays inside a jitted function, leading axes sharded; without axes replicated."""
  if mesh is None:
    return tree
  return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec(*axes)))


def put(tree: Any, mesh: Mesh | None, *axes: str | None) -> Any:
  """Puts arrays that every process has in full on the devices; without axes replicated."""
  if mesh is None:
    return jax.device_put(tree)
  sharding = NamedSharding(mesh, PartitionSpec(*axes))

  def put_one(x):
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

  return jax.tree.map(put_one, tree)


def shapes(tree: Any, mesh: Mesh | None, *axes: str | None) -> Any:
  """Of arrays, or of their shapes: the shapes of what `put` makes of them."""
  placed = NamedSharding(mesh, PartitionSpec(*axes)) if mesh else None
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placed), tree)


def batch_shards(mesh: Mesh | None) -> int:
  """How many devices share each batch."""
  return mesh.shape['data'] if mesh else 1


def own_shard(mesh: Mesh | None, members: int, batch_size: int) -> tuple[slice, slice]:
  """The members, and the part of their batches, that the devices of this process need."""
  shape = members, batch_size
  if mesh is None:
    return slice(0, members), slice(0, batch_size)
  sharding = NamedSharding(mesh, PartitionSpec('members', 'data'))
  indices = sharding.addressable_devices_indices_map(shape).values()
  own = [_bounded(index, shape) for index in indices]
  first, second = (
    slice(min(i.start for i in axis), max(i.stop for i in axis)) for axis in zip(*own, strict=True)
  )
  return first, second


def from_own_shard(x: np.ndarray, mesh: Mesh, sizes: tuple[int, int, int]) -> jax.Array:
  """Assembles what every process sampled for its own devices.

  Args:
    x: [steps, own members, own batch, ...]; without the third axis it is for the whole batch.
    mesh: of the devices.
    sizes: (steps, members, batch size) over all devices.

  Returns:
    [steps, members, batch size, ...], sharded.
  """
  axes = (None, 'members', 'data')[: x.ndim]
  shape = sizes[: x.ndim] + x.shape[3:]
  starts = (0, *(own.start for own in own_shard(mesh, sizes[1], sizes[2])))[: x.ndim]

  def of_device(index):
    bounded = _bounded(index, shape)
    leading = (slice(i.start - s, i.stop - s) for i, s in zip(bounded, starts, strict=False))
    return x[tuple(leading)]

  return jax.make_array_from_callback(shape, NamedSharding(mesh, PartitionSpec(*axes)), of_device)


def _bounded(index, shape):
  """Slices with both their ends."""
  return tuple(slice(*i.indices(size)[:2]) for i, size in zip(index, shape, strict=True))
