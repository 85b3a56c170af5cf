"""Reads the command line: whatever absl and ml_collections raise on bad input becomes one line."""

import ast
import errno
import functools
import os.path
import pathlib
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from air_jax.config import flat
from air_jax.errors import UserError

CONFIGS = pathlib.Path(__file__).parent.parent / 'configs'
_DEFAULT = 'multi_digits'
_FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG
_CONFIG = re.compile(r'--?config(?:=(.*))?', re.DOTALL)
_OVERRIDE = re.compile(r'--?(?:no)?config\.([^=]+)')
_P = ParamSpec('_P')
_R = TypeVar('_R')


def program() -> str:
  """The name of this program, for messages."""
  name = pathlib.Path(sys.argv[0]).name
  return 'air-jax' if name == '__main__.py' else name


def one_line_errors(function: Callable[_P, _R]) -> Callable[_P, _R]:
  """Decorates a function so that a `UserError` ends the program with its message and code.

  So do Ctrl-C, where nothing else handles it, and a full disk.
  """

  def end(message: object, code: int) -> None:
    print(f'{program()}: {message}', file=sys.stderr)
    sys.exit(code)

  @functools.wraps(function)
  def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
    try:
      return function(*args, **kwargs)
    except UserError as error:
      end(error, error.exit_code)
    except OSError as error:
      if error.errno in _FULL:
        end(
          f'cannot write {error.filename or "a file"}: {error.strerror}; make room, and try again',
          UserError.exit_code,
        )
      raise
    except KeyboardInterrupt:
      end('interrupted', 128 + signal.SIGINT)
    raise AssertionError('unreachable')

  return guarded


def configurations() -> dict[str, str]:
  """The shipped configurations: the first line of each one's docstring, by name."""
  found = {}
  for path in sorted(CONFIGS.glob('*.py')):
    if path.stem not in ('__init__', 'default'):
      found[path.stem] = (ast.get_docstring(ast.parse(path.read_text())) or '').split('\n')[0]
  return found


def parse(argv: Sequence[str], values: flags.FlagValues) -> list[str]:
  """Parses flags, one of which is `config`.

  Args:
    argv: the command line.
    values: the flags, all but `config`, which is defined here.

  Returns:
    The arguments that are no flags.

  Raises:
    UserError: a flag or a key of the configuration is unknown or has no possible value.
  """
  arguments, path = _with_config_path(argv)
  unchanged = flags.FlagValues()
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)  # what it logs is logged below, too
  try:
    config_flags.DEFINE_config_file('config', path, flag_values=unchanged, sys_argv=arguments[:1])
    known = _keys(unchanged['config'].value)
  except (Exception, SystemExit) as error:  # the file is a program, and may fail in any way
    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    if isinstance(error, SystemExit):
      reason = f'it ends the program ({reason})'
    raise UserError(f'--config={path} gives no configuration: {reason}') from error
  finally:
    logging.set_verbosity(verbosity)
  for argument in arguments[1:]:
    if (override := _OVERRIDE.match(argument)) and override[1] not in known:
      raise flat.unknown_key(override[1], known)
  config_flags.DEFINE_config_file('config', None, flag_values=values, sys_argv=arguments)
  return _parse(arguments, values)


@one_line_errors
def parse_flags(argv: Sequence[str]) -> list[str]:
  """Parses flags for the `app.run` of a program without a configuration; see `parse`."""
  return _parse(argv, flags.FLAGS)


def touches_config(argv: Sequence[str]) -> bool:
  """Whether a command line chooses a configuration or changes one."""
  return any(re.match(r'--?(no)?config([.=]|$)', argument) for argument in argv[1:])


def chooses_config(argv: Sequence[str]) -> bool:
  """Whether a command line chooses a configuration."""
  return any(_CONFIG.fullmatch(argument) for argument in argv[1:])


def overridden_keys(argv: Sequence[str]) -> list[str]:
  """The keys of the configuration that a command line changes, dotted."""
  matches = (_OVERRIDE.match(argument) for argument in argv[1:])
  return [match[1] for match in matches if match]


def _keys(config: object) -> dict[str, Any]:
  """The values of what the `get_config` of a file returned, by dotted key."""
  if not isinstance(config, ConfigDict):
    raise TypeError(f'get_config returned {type(config).__name__}; it must return a ConfigDict')
  return flat.flatten(config)


def _parse(argv: Sequence[str], values: flags.FlagValues) -> list[str]:
  try:
    return values(argv)
  except (flags.Error, TypeError, ValueError) as error:
    raise UserError(' '.join(str(error).split())) from error


def _with_config_path(argv: Sequence[str]) -> tuple[list[str], str]:
  """The command line with --config as the path of a file, by default a shipped one; that path."""
  path = ''
  arguments = [argv[0]]
  rest = iter(argv[1:])
  for argument in rest:
    if match := _CONFIG.fullmatch(argument):
      given = next(rest, '') if match[1] is None else match[1]
      path = _config_path(given)
      argument = f'--config={path}'
    arguments.append(argument)
  if not path:
    path = str(CONFIGS / f'{_DEFAULT}.py')
    arguments.insert(1, f'--config={path}')
  return arguments, path


def _config_path(given: str) -> str:
  """The file that a value of --config names."""
  if os.path.isfile(given):
    return given
  names = configurations()
  shown = given if given.isprintable() else repr(given)
  if given in names or given == 'default':
    return str(CONFIGS / f'{given}.py')
  if re.fullmatch(r'[\w-]*', given):
    raise UserError(
      f'--config={shown} is neither a file nor a configuration by name; there are '
      f'{", ".join(names)}'
    )
  others = sorted(str(path) for path in pathlib.Path(given).parent.glob('*.py'))
  raise UserError(
    f'--config={shown} is not a file; there are {", ".join(others) or "none in its folder"}'
  )
