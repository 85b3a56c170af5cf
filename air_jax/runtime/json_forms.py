"""Whether a value that was read from JSON has the form that its readers rely on.

A form is a type: `int`, `float`, `str`, `bool`, `None`, `Any`, `list[...]`, `tuple[...]` for a list
of that length, `dict[str, ...]`, a union, or a `TypedDict`, which may have further entries.
"""

import sys
import types
import typing
from typing import Any, NotRequired, Required

_LEVELS = 20  # deeper values overflow the stack of those that copy or write them
_MOST = 2**53  # of a whole number: it is one in floating point, too
_SIMPLE = (str, bool, type(None))


def mismatch(value: Any, form: Any, where: str = 'it') -> str:
  """What keeps a value from having a form, in words; '' if nothing does.

  Args:
    value: of JSON.
    form: see above.
    where: what the value is called.
  """
  if typing.is_typeddict(form):
    return _mismatch_of_entries(value, form, where)
  origin, inner = typing.get_origin(form), typing.get_args(form)
  if origin in (types.UnionType, typing.Union):
    every = [mismatch(value, each, where) for each in inner]
    return '' if '' in every else every[-1]
  if origin is list:
    if not isinstance(value, list):
      return f'{where} must be a list'
    return _first(mismatch(each, inner[0], f'{where}[{i}]') for i, each in enumerate(value))
  if origin is tuple:
    if not isinstance(value, list) or len(value) != len(inner):
      return f'{where} must be a list of {len(inner)}'
    pairs = zip(value, inner, strict=True)
    return _first(mismatch(each, kind, f'{where}[{i}]') for i, (each, kind) in enumerate(pairs))
  if origin is dict:
    if not isinstance(value, dict):
      return f'{where} must be an object'
    return _first(mismatch(each, inner[1], f'{where}[{ascii(k)}]') for k, each in value.items())
  if form is Any:
    return '' if _depth_at_most(value, _LEVELS) else f'{where} is nested too deeply'
  return '' if _is_simple(value, form) else f'{where} must be of type {_name(form)}'


def _mismatch_of_entries(value: Any, form: Any, where: str) -> str:
  if not isinstance(value, dict):
    return f'{where} must be an object'
  hints = typing.get_type_hints(form, include_extras=True)
  for name, hint in hints.items():
    if name not in value and typing.get_origin(hint) is not NotRequired:
      return f'{where} lacks {name!r}'
  for name, each in value.items():
    hint = hints.get(name, Any)
    if typing.get_origin(hint) in (NotRequired, Required):
      (hint,) = typing.get_args(hint)
    if text := mismatch(each, hint, f'{where}[{ascii(name)}]'):
      return text
  return ''


def _is_simple(value: Any, form: Any) -> bool:
  if form is float:
    return _number(value) and (isinstance(value, float) or abs(value) <= sys.float_info.max)
  if form is int:
    return _number(value) and isinstance(value, int) and abs(value) <= _MOST
  if form is str:
    return isinstance(value, str) and value.isprintable()
  kind = type(None) if form is None else form
  assert kind in _SIMPLE, form
  return isinstance(value, kind)


def _number(value: Any) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)


def _name(form: Any) -> str:
  return 'null' if form in (None, type(None)) else form.__name__


def _first(texts: Any) -> str:
  return next(filter(None, texts), '')


def _depth_at_most(value: Any, levels: int) -> bool:
  inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
  return levels > 0 and all(_depth_at_most(each, levels - 1) for each in inner)
