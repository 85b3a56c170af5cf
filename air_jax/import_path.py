"""Objects named by import path, 'module:attribute', as configurations give them."""

import importlib
import re
import sys
from typing import Any

from air_jax.errors import UserError

FORM = re.compile(r'[A-Za-z_][\w.]*:[A-Za-z_][\w.]*')


def load(path: str, key: str) -> Any:
  """Imports an object; modules are also looked for in the current directory.

  Args:
    path: 'module:attribute'.
    key: what was set to it, for the message.

  Raises:
    UserError: there is no such module or attribute, or the module fails as it is imported.
  """
  if not FORM.fullmatch(path):
    raise UserError(f'{key}={path!r} is not allowed; it must be a known name or module:attribute')
  module_name, _, attribute = path.partition(':')
  missing = '' not in sys.path
  if missing:
    sys.path.append('')
  try:
    value = importlib.import_module(module_name)
    for name in attribute.split('.'):
      value = getattr(value, name)
  except Exception as error:  # the module is a program, and may fail in any way
    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    raise UserError(f'{key}={path!r} cannot be imported: {reason}') from error
  finally:
    if missing:
      sys.path.remove('')
  return value


def of(value: Any, what: str) -> str:
  """The import path of a function or class.

  Raises:
    UserError: it has none, so that a saved run could not find it again.
  """
  module, name = getattr(value, '__module__', None), getattr(value, '__qualname__', '<')
  if not module or module == '__main__' or '<' in name:
    raise UserError(
      f'{what}={value!r} must be a function or class of a module, so that a saved run finds it '
      'again by its import path'
    )
  return f'{module}:{name}'
