"""The edits that a client asks for: checked JSON, and the `Latents` that they lead to."""

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from air_jax.config.sections import ModelConfig
from air_jax.errors import UserError
from air_jax.inference import latent_edits
from air_jax.types import Latents

_MOST_CHANGES = 100
# Beyond these, windows and glimpses are no finite numbers of 32 bits.
_LARGEST = {'z_where': 50.0, 'z_what': 1e6, 'z_background': 1e6}
_LARGEST_AMOUNT = 1000.0
_KINDS: dict[type, str] = {dict: 'an object', list: 'a list', str: 'a text'}
# By the names and arguments of `latent_edits`; None where there is no default.
_EDITS: dict[str, tuple[Callable[..., Latents], dict[str, float | None]]] = {
  'move': (jax.jit(latent_edits.move), {'down': 0.0, 'right': 0.0}),
  'resize': (jax.jit(latent_edits.resize), {'factor': None}),
  'remove': (jax.jit(latent_edits.remove), {}),
}


def warm_up(latents: Latents) -> None:
  """Compiles every edit, for the `Latents` of one scene."""
  for function, amounts in _EDITS.values():
    function(latents, 0, **{name: 1.0 for name in amounts})


def apply(body: bytes, config: ModelConfig) -> Latents:
  """The `Latents` of one scene after the changes that a request asks for.

  Args:
    body: JSON, {"latents": ..., "changes": [{"edit": "move", "which": 0, "by": {"right": 0.1}}]}.
    config: of the model.

  Raises:
    UserError: the body asks for nothing that can be done.
  """
  try:
    asked = json.loads(body)
  except (ValueError, RecursionError) as error:
    raise _refusal('the body is no JSON, or too deep') from error
  latents = _latents(_field(asked, 'latents', dict), config)
  changes = _field(asked, 'changes', list)
  if len(changes) > _MOST_CHANGES:
    raise _refusal(f'more than {_MOST_CHANGES} changes')
  for change in changes:
    edit = _field(change, 'edit', str)
    if edit not in _EDITS:
      raise _refusal(f'edit must be one of {", ".join(_EDITS)}')
    function, amounts = _EDITS[edit]
    which = _whole(change, 'which', config.max_steps - 1)
    by = _field(change, 'by', dict) if 'by' in change else {}
    if by.keys() - amounts.keys():
      raise _refusal(f'by of {edit} may have {", ".join(amounts) or "nothing"}')
    latents = function(
      latents, which, **{name: _amount(by, name, amounts[name]) for name in amounts}
    )
  return latents


def _latents(given: dict[str, Any], config: ModelConfig) -> Latents:
  shapes = {
    'z_where': (config.max_steps, 3),
    'z_what': (config.max_steps, config.code_size),
    'z_background': (config.background_code_size,),
  }
  arrays: dict[str, Any] = {name: _array(given, name, shape) for name, shape in shapes.items()}
  arrays['count'] = np.int32(_whole(given, 'count', config.max_steps))
  return Latents(**arrays)


def _array(given: dict[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
  largest = _LARGEST[name]
  try:
    values = np.asarray(_field(given, name, list), np.float64)
  except (ValueError, TypeError, OverflowError, RecursionError):  # what NumPy raises on odd lists
    values = np.full(shape, np.nan)
  if values.shape != shape or not (abs(values) <= largest).all():
    sides = ' x '.join(map(str, shape))
    raise _refusal(f'{name} must be {sides} numbers within -{largest:g}..{largest:g}')
  return values.astype(np.float32)


def _field(given: Any, name: str, kind: type) -> Any:
  value = given.get(name) if isinstance(given, dict) else None
  if not isinstance(value, kind):
    raise _refusal(f'{name} must be there, and {_KINDS[kind]}')
  return value


def _whole(given: dict[str, Any], name: str, largest: int) -> int:
  value = given.get(name)
  if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
    raise _refusal(f'{name} must be a whole number in 0..{largest}')
  return value


def _amount(by: dict[str, Any], name: str, default: float | None) -> float:
  value = by.get(name, default)
  if isinstance(value, int | float) and not isinstance(value, bool):
    # NaN is not within; a whole number may be too large for a float, but not for a comparison.
    if abs(value) <= _LARGEST_AMOUNT:
      return float(value)
  raise _refusal(f'{name} must be a number within -{_LARGEST_AMOUNT:g}..{_LARGEST_AMOUNT:g}')


def _refusal(why: str) -> UserError:
  return UserError(f'not understood: {why}')
