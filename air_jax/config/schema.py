"""The configuration: an ml_collections ConfigDict, turned once into checked frozen dataclasses."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from ml_collections import ConfigDict

from air_jax.config import constraints as c
from air_jax.config.flat import flatten, freeze, listed, unknown_key
from air_jax.config.sections import Config, Derived, ModelConfig
from air_jax.errors import UserError


def parse(config: ConfigDict) -> Config:
  """Checks a configuration and freezes it.

  Raises:
    UserError: a key is unknown, missing, of the wrong type or has a value that is not allowed.
  """
  from air_jax.objectives import registry  # imports JAX, which the command line does without

  try:
    given = flatten(config)
  except TypeError as error:  # ConfigDict sorts its keys
    raise UserError('config has keys that are no strings; see configs/default.py') from error
  empty = {key for key in SECTIONS if isinstance(given.get(key), ConfigDict)}
  given = {key: value for key, value in given.items() if key not in empty}
  if unknown := given.keys() - KEYS.keys():
    raise unknown_key(min(unknown), KEYS)
  if missing := KEYS.keys() - given.keys():
    raise UserError(f'config lacks {listed(missing)}; see configs/default.py')
  c.check(given, KEYS)
  sections: dict[str, dict[str, Any]] = {section: {} for section in ('', *SECTIONS)}
  for key, value in given.items():
    section, _, name = key.rpartition('.')
    sections[section][name] = freeze(value)
  channels, background = 3 if given['data.colour'] else 1, given['model.background']
  if background != 'latent':
    degree = given['model.background_degree']
    terms = (degree + 1) * (degree + 2) // 2 if background == 'polynomial' else 0
    sections['model']['background_code_size'] = channels * terms
  model = ModelConfig(
    **sections['model'],
    canvas_size=given['data.canvas_size'],
    reference_size=given['data.canvas_size'],
    channels=channels,
    baseline=registry.resolve(given['objective.name']).baseline,
    success=given['objective.prior_end'],
  )
  kinds = typing.get_type_hints(Config)
  others = {name: kinds[name](**sections[name]) for name in SECTIONS if name != 'model'}
  return Config(**sections[''], model=model, **others)


_Base = TypeVar('_Base')


def base(kind: type[_Base], config: Any) -> _Base:
  """The part of a configuration that a base class of its type holds, such as `ModelSpec`."""
  names = (field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type]  # no bound says dataclass
  return kind(**{name: getattr(config, name) for name in names})


def check_data(fields: Mapping[str, Any]) -> None:
  """Checks section `data`, given as a mapping of `DataConfig`'s fields.

  Raises:
    UserError: a field is of the wrong type or has a value that is not allowed.
  """
  c.check_data({f'data.{name}': value for name, value in fields.items()}, KEYS)


def to_flat(config: Config) -> dict[str, Any]:
  """The values of a `Config` by dotted key, without section `members`."""
  nested = dataclasses.asdict(config)
  keys = [key.rpartition('.') for key in KEYS if not key.startswith('members.')]
  return {f'{s}{dot}{name}': (nested[s] if s else nested)[name] for s, dot, name in keys}


def _key(hint: Any) -> c.Key | None:
  """The key that a field's type declares; None where `parse` derives the field."""
  constraint = None
  if typing.get_origin(hint) is Annotated:
    hint, constraint = typing.get_args(hint)
  if isinstance(constraint, Derived):
    return None
  return c.Key(typing.get_origin(hint) or hint, constraint)


def _keys() -> dict[str, c.Key]:
  found: dict[str, c.Key | None] = {}
  for section, hint in typing.get_type_hints(Config, include_extras=True).items():
    if dataclasses.is_dataclass(hint):
      inner = typing.get_type_hints(hint, include_extras=True)
      found |= {f'{section}.{name}': _key(kind) for name, kind in inner.items()}
    else:
      found[section] = _key(hint)
  return {name: key for name, key in found.items() if key}


KEYS = _keys()
SECTIONS = tuple(dict.fromkeys(key.partition('.')[0] for key in KEYS if '.' in key))
