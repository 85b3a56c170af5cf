"""Which values of a configuration are allowed.

A constraint is a function of a value that returns what the value must be, or '' where it is
allowed. schema.py declares one for each field; `check` also checks keys that depend on others.
"""

import ctypes
import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from air_jax import import_path
from air_jax.config.flat import shown
from air_jax.errors import UserError

Constraint = Callable[[Any], str]

_MOST = 2**31 - 1  # of a whole number: JAX holds them in 32 bits
COLOURS = 'red', 'green', 'blue'  # by their channel
TABLES = ('table_primitives',)  # sources of solids on a table
MOST_OBJECTS = 2**16 - 2  # in a scene: segments hold one more, in 16 bits


class Key(NamedTuple):
  """What a key of the configuration may hold."""

  kind: type
  constraint: Constraint | None  # None allows every value of this type


def at_least(least: int, most: int = _MOST) -> Constraint:
  """Whole numbers in [least, most]."""

  def constraint(value: int) -> str:
    if value > most:
      return f'at most {most}'
    return '' if value >= least else f'at least {least}'

  return constraint


def one_of(*names: Any, path: bool = False) -> Constraint:
  """These names; with `path` also an import path 'module:attribute'."""
  text = f'one of {", ".join(map(repr, names))}' + (", or 'module:attribute'" if path else '')
  return lambda value: '' if value in names or (path and is_path(value)) else text


def is_path(value: str) -> bool:
  """Whether a value has the form of an import path; whether it can be imported is not tried."""
  return import_path.FORM.fullmatch(value) is not None


def positive(value: float) -> str:
  """Numbers > 0 that are finite and not 0 in single precision."""
  return '' if 0 < _single(value) < float('inf') else 'a finite number greater than 0'


def not_negative(value: float) -> str:
  """Finite numbers >= 0."""
  return '' if 0 <= _single(value) < float('inf') else 'a finite number, at least 0'


def finite(value: float) -> str:
  """Numbers that are neither infinite nor NaN."""
  return '' if abs(_single(value)) < float('inf') else 'finite'


def fraction(value: float) -> str:
  """Numbers in [0, 1]."""
  return '' if 0 <= value <= 1 else 'in [0, 1]'


def inside_unit(value: float) -> str:
  """Numbers in (0, 1)."""
  return '' if 0 < _single(value) < 1 else 'in (0, 1)'


def below_one(value: float) -> str:
  """Numbers in [0, 1)."""
  return '' if 0 <= value and _single(value) < 1 else 'in [0, 1)'


def weight(value: float) -> str:
  """Numbers in (0, 1]."""
  return '' if 0 < _single(value) <= 1 else 'in (0, 1]'


def seed(value: int) -> str:
  """What JAX takes as the seed of a key."""
  return '' if 0 <= value < 2**32 else 'in [0, 2**32)'


def layers(sizes: tuple[int, ...]) -> str:
  """Sizes of the hidden layers of a network."""
  allowed = len(sizes) > 0 and all(_is_a(size, int) and 0 < size <= _MOST for size in sizes)
  return '' if allowed else f'at least one layer size, each a whole number in [1, {_MOST}]'


def counts(numbers: tuple[int, ...]) -> str:
  """Different numbers of objects to draw from, or none."""
  allowed = all(_is_a(number, int) and 0 <= number <= MOST_OBJECTS for number in numbers)
  allowed = allowed and len(set(numbers)) == len(numbers) and (not len(numbers) or max(numbers) > 0)
  return '' if allowed else 'different whole numbers >= 0, of which one is >= 1, or ()'


def levels(numbers: tuple[float, ...]) -> str:
  """The values that become black and white, or none."""
  allowed = all(_is_a(number, float) and not finite(number) for number in numbers)
  allowed = allowed and (not len(numbers) or (len(numbers) == 2 and numbers[0] < numbers[1]))
  return '' if allowed else 'two finite numbers, the first less than the second, or ()'


def channel(name: str) -> str:
  """A colour, or the number of a channel."""
  allowed = name in ('', *COLOURS) or (name.isascii() and name.isdecimal() and len(name) < 6)
  return '' if allowed else f"one of {', '.join(map(repr, ('', *COLOURS)))}, or a number from '0'"


def path_or_empty(value: str) -> str:
  """'' or an import path."""
  return '' if not value or is_path(value) else "empty or an import path 'module:attribute'"


def estimator(value: str) -> str:
  """A name in `objectives.registry.ESTIMATORS`, or an import path."""
  from air_jax.objectives import registry  # imports JAX, which the command line does without

  return one_of(*registry.ESTIMATORS, path=True)(value)


# Types of fields with their constraint.
Size = Annotated[int, at_least(1)]
Repeats = Annotated[int, at_least(0, 32)]  # of which a program holds each
Count = Annotated[int, at_least(0)]
Seed = Annotated[int, seed]
Positive = Annotated[float, positive]
NotNegative = Annotated[float, not_negative]
Finite = Annotated[float, finite]
Fraction = Annotated[float, fraction]
BelowOne = Annotated[float, below_one]
Layers = Annotated[tuple[int, ...], layers]
Numbers = tuple[float, ...]  # one for each member


def check(given: Mapping[str, Any], keys: Mapping[str, Key]) -> None:
  """Refuses a configuration that cannot work.

  Args:
    given: values by dotted key.
    keys: what each key may hold.

  Raises:
    UserError: a value is of the wrong type or not allowed, by itself or together with another.
  """
  from air_jax.objectives import registry

  check_data(given, keys)
  _check_order(given, 'model.glimpse_size', 'data.canvas_size')
  _check_order(given, 'model.patch_size', 'data.canvas_size')
  if given['data.source'] != 'folder':
    _check_order(given, 'train.batch_size', 'data.train_scenes')
  patch = given['model.patch_size']
  for key, value in (('model.residual', True), ('model.cell', 'voting')):
    if given[key] == value:
      _require('model.patch_size', patch, patch > 0, f'greater than 0 with {key}={value!r}')
  residual, cell = given['model.residual'], given['model.cell']
  allowed = cell == 'lstm' or not residual
  _require('model.residual', residual, allowed, "False unless model.cell is 'lstm'")
  compositing, networks = given['model.compositing'], given['model.networks']
  text = "'add' or 'over' with the standard networks, which give objects no depth"
  _require('model.compositing', compositing, bool(networks) or compositing != 'depth', text)
  _check_members(given, keys)
  name, number = given['objective.name'], given['objective.particles']
  fewest = registry.resolve(name).particles
  text = f'at least {fewest} with objective.name={name!r}'
  _require('objective.particles', number, number >= fewest, text)
  sleep = given['objective.sleep']
  _require('objective.sleep', sleep, name == 'rws' or not sleep, "False unless name is 'rws'")


def check_data(given: Mapping[str, Any], keys: Mapping[str, Key]) -> None:
  """As `check`, of a mapping that may hold section `data` alone."""
  for key, value in given.items():
    kind, constraint = keys[key]
    _require(key, value, _is_a(value, kind), f'of type {kind.__name__}')
    if constraint and (text := constraint(value)):
      _require(key, value, False, text)
    if kind is str:
      _require(key, value, _is_text(value), 'text that a file name could hold')
  _check_order(given, 'data.min_objects', 'data.max_objects')
  _check_order(given, 'data.min_scale', 'data.max_scale')
  if (source := given['data.source']) in TABLES:
    layout = given['data.layout']
    _require(
      'data.layout', layout, layout == 'occluding', f"'occluding' with data.source={source!r}"
    )
  if source == 'folder':
    reason = "with data.source='folder', where all images are read at the start"
    online, reading = given['data.online'], given['data.reading']
    _require('data.online', online, not online, f'False {reason}')
    _require('data.reading', reading, reading != 'stream', f"'auto' or 'resident' {reason}")


def _check_members(given: Mapping[str, Any], keys: Mapping[str, Key]) -> None:
  size, first = given['train.population'], given['seed']
  _require('seed', first, first + size <= 2**32, f'at most 2**32 - train.population={2**32 - size}')
  for key, values in given.items():
    section, _, name = key.rpartition('.')
    if section == 'members' and len(values):
      text = f'as many numbers as train.population={size}, or ()'
      _require(key, values, len(values) == size, text)
      constraint = next(keys[k].constraint for k in keys if k != key and k.endswith(f'.{name}'))
      for value in values:
        _require(key, values, _is_a(value, float), 'of numbers')
        text = constraint(value) if constraint else ''
        _require(key, values, not text, f'of numbers, each {text}')


def _check_order(given: Mapping[str, Any], small: str, large: str) -> None:
  _require(small, given[small], given[small] <= given[large], f'at most {large}={given[large]}')


def _single(value: float) -> float:
  """A number in single precision, in which everything is computed."""
  try:
    return ctypes.c_float(value).value
  except OverflowError:  # a whole number beyond double precision
    return float('inf')


def _require(key: str, value: Any, allowed: bool, text: str) -> None:
  if not allowed:
    raise UserError(f'config.{key}={shown(value)} is not allowed; it must be {text}')


def _is_text(value: str) -> bool:
  """Whether a string can be part of a file name, an argument or a message."""
  try:
    return b'\0' not in os.fsencode(value)
  except UnicodeEncodeError:  # half of a pair of UTF-16
    return False


def _is_a(value: Any, kind: type) -> bool:
  if kind is float:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
  if kind is int:
    return isinstance(value, int) and not isinstance(value, bool)
  return isinstance(value, (tuple, list) if kind is tuple else kind)
