"""Configurations as flat mappings, from dotted keys to values."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from air_jax.errors import UserError

_LEVELS = 20  # of mappings in each other; ours have three at most
_SHOWN = 200  # characters of a value that a message quotes


def flatten(config: Mapping[str, Any] | ConfigDict, levels: int = _LEVELS) -> dict[str, Any]:
  """A nested mapping as a flat dict with dotted keys.

  Mappings that are empty, or more than so many levels deep, are values.
  """
  flat: dict[str, Any] = {}
  for key, value in config.items():
    if isinstance(value, (ConfigDict, dict)) and len(value) and levels > 1:
      flat |= {f'{key}.{inner}': v for inner, v in flatten(value, levels - 1).items()}
    else:
      flat[str(key)] = value
  return flat


def freeze(value: Any) -> Any:
  """A list as a tuple, anything else as it is."""
  return tuple(value) if isinstance(value, list) else value


def shown(value: Any) -> str:
  """A value as a message shows it, in one line."""
  try:
    text = repr(value).strip().replace('\n', ' ')
  except Exception:  # too many digits or levels, or a class that cannot be shown
    text = f'a {type(value).__name__} too large to be shown'
  return text if len(text) <= _SHOWN else f'{text[:_SHOWN]}...'


def listed(keys: Iterable[str], most: int = 5) -> str:
  """Some keys in a line, and how many more there are."""
  first, rest = (ordered := sorted(keys))[:most], len(ordered) - most
  return ', '.join(key[:_SHOWN] for key in first) + (f' and {rest} more' if rest > 0 else '')


def unknown_key(key: str, known: Iterable[str]) -> UserError:
  """The error for a key that does not exist, naming the nearest one that does."""
  near = difflib.get_close_matches(key[:_SHOWN], list(known), n=1, cutoff=0.0)
  return UserError(f'unknown config key {shown(key)}; did you mean {near[0]!r}?')
