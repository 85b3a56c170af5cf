"""Configurations as flat mappings, from dotted keys to values."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from air_jax.errors import UserError


def flatten(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
  """A nested mapping as a flat dict with dotted keys."""
  flat: dict[str, Any] = {}
  for key, value in config.items():
    if isinstance(value, (ConfigDict, dict)):
      flat |= {f'{key}.{inner}': v for inner, v in flatten(value).items()}
    else:
      flat[str(key)] = value
  return flat


def freeze(value: Any) -> Any:
  """A list as a tuple, anything else as it is."""
  return tuple(value) if isinstance(value, list) else value


def listed(keys: Iterable[str], most: int = 5) -> str:
  """Some keys in a line, and how many more there are."""
  first, rest = (ordered := sorted(keys))[:most], len(ordered) - most
  return ', '.join(first) + (f' and {rest} more' if rest > 0 else '')


def unknown_key(key: str, known: Iterable[str]) -> UserError:
  """The error for a key that does not exist, naming the nearest one that does."""
  near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)
  return UserError(f'unknown config key {key!r}; did you mean {near[0]!r}?')
