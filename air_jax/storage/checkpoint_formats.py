"""The arrays of a checkpoint by name, and how those of earlier versions become today's.

A state is kept as a dict from names such as 'params/cell/gates/kernel' to arrays: it depends on no
class, and can be read without knowing what made it.

Version 1 (air_jax 0.1) kept Python's own structure of the state. Its parameters were named by
private classes, and the moving averages of NVIL's signal were parameters.
"""

import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

VERSION = 2

Arrays = dict[str, Any]

# Version 1: the fields of its NamedTuples, in their order, which its digest went by.
_FIELDS = (
  'step', 'params', 'average', 'opt_state',
  'notfinite_count', 'last_finite', 'total_notfinite',
  'inner_states', 'inner_state', 'count', 'mu', 'nu',
)  # fmt: skip
# Version 1: moving averages among the parameters, and their names in the estimator's state.
_AVERAGES = {'signal/centre': 'estimator/mean', 'signal/variance': 'estimator/variance'}
# Version 1: parameters by pattern, and their names today.
_RENAMED = (
  (r'image_gates/kernel', 'cell/image_gates/kernel'),
  (r'baseline_net/(.*)', r'baseline/\1'),
  (r'image_encoder/_Mlp_0/_Dense_(\d+)/(.*)', r'image_encoder/mlp/hidden_\1/\2'),
  (r'attention/_Dense_0/(.*)', r'attention/patches/\1'),
  (r'attention/_Dense_1/(.*)', r'attention/near/\1'),
  (r'attention/_Dense_2/(.*)', r'attention/narrow/\1'),
  (r'attention/_Dense_3/(.*)', r'attention/far/\1'),
  (r'attention/_Dense_4/(.*)', r'attention/score/\1'),
)


def to_arrays(tree: Any) -> Arrays:
  """The arrays of a pytree by name."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {'/'.join(map(_name, path)): leaf for path, leaf in leaves}


def from_arrays(target: Any, arrays: Arrays) -> Any:
  """A pytree of the structure of `target`, which may be a part of what was kept.

  Raises:
    ValueError: the arrays are not those of such a tree: other names, shapes or types.
  """
  wanted = to_arrays(target)
  parts = {name.partition('/')[0] for name in wanted}
  found = {name: x for name, x in arrays.items() if name.partition('/')[0] in parts}
  if described(found) != described(wanted):
    raise ValueError('a checkpoint of another model')
  return jax.tree.unflatten(jax.tree.structure(target), [found[name] for name in wanted])


def described(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], str]]:
  """Shape and type of each array."""
  return {name: (tuple(x.shape), str(np.dtype(x.dtype))) for name, x in arrays.items()}


def nest(arrays: Arrays) -> dict[str, Any]:
  """The same arrays as a tree of dicts, as Orbax keeps them."""
  tree: dict[str, Any] = {}
  for name, array in arrays.items():
    *folders, last = name.split('/')
    place = tree
    for folder in folders:
      place = place.setdefault(folder, {})
    place[last] = array
  return tree


def digest_order(arrays: Arrays, version: int) -> Iterator[tuple[str, Any]]:
  """The arrays by the names, and in the order, that the digest of a version goes by."""
  if version > 1:
    yield from sorted(arrays.items())
    return

  def place(name):
    return [
      (0, _FIELDS.index(x), '') if x in _FIELDS else (1, int(x), '') if x.isdigit() else (2, 0, x)
      for x in name.split('/')
    ]

  for name in sorted(arrays, key=place):
    parts = name.split('/')
    shown = (f'.{x}' if x in _FIELDS else f'[{x if x.isdigit() else repr(x)}]' for x in parts)
    yield ''.join(shown), arrays[name]


def upgrade(arrays: Arrays, version: int) -> Arrays:
  """The arrays of an earlier version as those of today."""
  if version > 1:
    return arrays
  result: Arrays = {}
  for name, array in arrays.items():
    if name.startswith('opt_state/') and not re.search('/(mu|nu)/|/0/count$|notfinite|last', name):
      continue  # the counter of a schedule
    head, tail = _split(name)
    # Adam was wrapped in a chain with its schedule.
    head = re.sub(r'(inner_states/model/inner_state/\d/)0/', r'\1', head)
    head = re.sub(
      'inner_states/baseline_net/inner_state/0/', 'inner_states/baseline/inner_state/', head
    )
    if tail in _AVERAGES:
      if head == 'params/':
        result[_AVERAGES[tail]] = array
    elif tail == 'size_change':
      result[f'{head}size_prior/mean_shift'] = array[..., 0]
      result[f'{head}size_prior/log_std_factor'] = array[..., 1]
    else:
      result[head + _rename(tail, arrays)] = array
  return result


def _split(name):
  """What stands before the name of a parameter, and that name."""
  match = re.match(r'((?:params|average|opt_state/.*?/(?:mu|nu))/)(.*)', name)
  return match.groups() if match else (name, '')


def _rename(name, arrays):
  for pattern, new in _RENAMED:
    if match := re.fullmatch(pattern, name):
      name = match.expand(new)
  if match := re.fullmatch(r'image_encoder/_Dense_(\d+)/(.*)', name):
    number = int(match[1]) - 1
    layer = f'round_{number // 2}_{("down", "across")[number % 2]}' if number >= 0 else 'patches'
    return f'image_encoder/{layer}/{match[2]}'
  if match := re.fullmatch(r'(\w+)/(_Mlp_0/)?_Dense_(\d+)/(.*)', name):
    return f'{match[1]}/{_layer(match, arrays)}/{match[4]}'
  return name


def _layer(match, arrays):
  """A head's layers were numbered; its last one is the output layer."""
  role, within, number = match[1], match[2] or '', int(match[3])
  old = {'baseline': 'baseline_net'}.get(role, role)
  last = f'params/{old}/{within}_Dense_{number + 1}/kernel' not in arrays
  return 'output' if last else f'hidden_{number}'


def _name(key):
  for attribute in ('name', 'key', 'idx'):
    if hasattr(key, attribute):
      return str(getattr(key, attribute))
  raise TypeError(f'{key!r} names no array')
