"""The command line: whatever absl and ml_collections raise on bad input becomes one clear line."""

import errno
import functools
import pathlib
import re
import signal
import sys

from absl import flags
from ml_collections import config_flags

from air_jax.config import schema as config_lib
from air_jax.errors import UserError

_FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG
_OVERRIDE = re.compile(r'--?(?:no)?config\.([^=]+)')


def one_line_errors(function):
  """Decorates a function so that a `UserError` ends the program with its message and code.

  So do Ctrl-C, wherever nobody else sees to it, and a full disk.
  """

  @functools.wraps(function)
  def guarded(*args):
    try:
      return function(*args)
    except UserError as error:
      print(f'{pathlib.Path(sys.argv[0]).name}: {error}', file=sys.stderr)
      sys.exit(error.exit_code)
    except OSError as error:
      if error.errno not in _FULL:
        raise
      where = error.filename or 'a file'
      print(
        f'{pathlib.Path(sys.argv[0]).name}: cannot write {where}: {error.strerror}', file=sys.stderr
      )
      sys.exit(UserError.exit_code)
    except KeyboardInterrupt:
      print(f'{pathlib.Path(sys.argv[0]).name}: interrupted', file=sys.stderr)
      sys.exit(128 + signal.SIGINT)

  return guarded


@one_line_errors
def parse(argv):
  """Parses flags for `app.run`.

  Args:
    argv: the command line; flag `config` must have been defined by `DEFINE_config_file`.

  Returns:
    the arguments that are no flags.

  Raises:
    SystemExit: after one line that says what is wrong.
  """
  path = _config_path(argv)
  if not path.is_file():
    others = sorted(str(p) for p in path.parent.glob('*.py'))
    raise UserError(
      f'--config={path} is no file; there are {", ".join(others) or "none beside it"}'
    )
  unchanged = flags.FlagValues()
  try:
    config_flags.DEFINE_config_file('config', str(path), flag_values=unchanged, sys_argv=argv[:1])
    known = config_lib.flatten(unchanged['config'].value)
  except Exception as error:  # the file is a program, and may fail in any way
    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    raise UserError(f'--config={path} gives no configuration: {reason}') from error
  for argument in argv[1:]:
    if (override := _OVERRIDE.match(argument)) and override[1] not in known:
      raise config_lib.unknown_key(override[1], known)
  default = [] if _names_config(argv) else [f'--config={path}']
  return _parse_flags([argv[0], *default, *argv[1:]])


@one_line_errors
def parse_flags(argv):
  """Parses flags for the `app.run` of a program without a configuration; see `parse`."""
  return _parse_flags(argv)


def touches_config(argv):
  """Whether a command line chooses a configuration or changes one."""
  return any(re.match(r'--?(no)?config([.=]|$)', argument) for argument in argv[1:])


def _parse_flags(argv):
  try:
    return flags.FLAGS(argv)
  except (flags.Error, TypeError, ValueError) as error:
    raise UserError(' '.join(str(error).split())) from error


def _names_config(argv):
  return any(re.fullmatch(r'--?config(=.*)?', argument) for argument in argv[1:])


def _config_path(argv):
  """The file that --config names, or the default beside the program."""
  path = str(pathlib.Path(argv[0]).parent / 'configs' / 'multi_digits.py')
  for argument, following in zip(argv[1:], [*argv[2:], ''], strict=False):
    if match := re.fullmatch(r'--?config(?:=(.*))?', argument):
      path = following if match[1] is None else match[1]
  return pathlib.Path(path)
