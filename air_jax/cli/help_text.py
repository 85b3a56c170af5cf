"""The text of --help, made from what declares flags, modes, configurations and keys."""

import re
import textwrap
from collections.abc import Mapping
from typing import NamedTuple

from absl import flags

from air_jax.cli import command_line
from air_jax.cli.modes import Mode

_WIDTH = 100
_KEY = re.compile(r'  (?:config|(\w+))\.(\w+) = ([^#]*?)(?:  # (.*))?')


class Described(NamedTuple):
  """A key of the configuration as configs/default.py has it."""

  value: str
  comment: str


def keys() -> dict[str, Described]:
  """Every key of the configuration, with the comment beside it and the lines above it."""
  found: dict[str, Described] = {}
  comments: list[str] = []
  for line in (command_line.CONFIGS / 'default.py').read_text().splitlines():
    if line.startswith('  # '):
      comments.append(line.removeprefix('  # '))
      continue
    if (match := _KEY.fullmatch(line)) and 'ConfigDict' not in line:
      section, name, value, comment = match.groups()
      comment = ' '.join([*comments, comment] if comment else comments)
      found[f'{section}.{name}' if section else name] = Described(value, comment)
    comments = []
  return found


def short(modes: Mapping[str, Mode], values: flags.FlagValues) -> str:
  """Modes, flags and configurations."""
  start = command_line.program()
  lines = [
    f'usage: {start} [--mode=MODE] [--config=NAME_OR_FILE] [--config.KEY=VALUE ...] '
    '[--workdir=FOLDER] [FLAG ...]',
    '',
    'Attend, Infer, Repeat: trains a model that explains images as sets of objects, and uses it.',
    '',
    'Modes (--mode=MODE):',
  ]
  for name, mode in modes.items():
    lines += _entry(name, mode.help, 12)
  lines += ['', 'Flags, and the modes that take them if not all do:']
  for flag in ('workdir', *sorted(set(values) - {'workdir', 'mode'})):
    lines += _flag(modes, values, flag)
  lines += _entry('--help, -h', 'Prints this, and every key of the configuration.', 24)
  lines += _entry('--helpshort', 'Prints this.', 24)
  lines += _entry('--version', 'Prints the version.', 24)
  lines += ['', 'Configurations (--config=NAME); a path of a Python file does as well:']
  for name, line in command_line.configurations().items():
    lines += _entry(name, line, 24)
  return '\n'.join(lines)


def full(modes: Mapping[str, Mode], values: flags.FlagValues) -> str:
  """The same, and every key of the configuration."""
  lines = [short(modes, values), '', 'Keys (--config.KEY=VALUE) with the values of "default":']
  for key, (value, comment) in keys().items():
    lines += [f'  --config.{key}={value}', *_wrapped(comment, 6)]
  return '\n'.join(lines)


def _flag(modes: Mapping[str, Mode], values: flags.FlagValues, name: str) -> list[str]:
  flag = values[name]
  takers = [mode for mode in modes if name in modes[mode].flags]
  text = (f'{", ".join(takers)}: ' if takers else '') + (flag.help or '')
  if flag.default not in (None, '', []):
    text += f' Default: {flag.default}.'
  kind = '' if flag.boolean else '=' + flag.flag_type().split()[-1].upper()
  return _entry(f'--{name}{kind}', text, 24)


def _entry(name: str, text: str, column: int) -> list[str]:
  lines = _wrapped(text, column + 2)
  if len(name) < column:
    return [f'  {name:{column}}{lines[0].lstrip()}', *lines[1:]]
  return [f'  {name}', *lines]


def _wrapped(text: str, indent: int) -> list[str]:
  space = ' ' * indent
  return textwrap.wrap(text, _WIDTH, initial_indent=space, subsequent_indent=space) or [space]
