"""Every command in the documents parses: its program, flags, configuration and files exist."""

import contextlib
import functools
import importlib
import re
import shlex
import sys

import pytest
from absl import flags
from documents import PAGES, ROOT, text

from air_jax.cli import command_line, main
from air_jax.config import schema
from air_jax.configs import default
from air_jax.errors import UserError

_PLACEHOLDER = re.compile(r'[A-Z_]+')  # such as FOLDER or K
# ml_collections loads a configuration by a method that Python 3.12 removes.
_load_module = pytest.mark.filterwarnings(r'ignore:the load_module\(\):DeprecationWarning')
_PROGRAM = re.compile(
  r'(?:^|[\s/=&])(air-jax|python main\.py|python -m (?:air_jax|benchmarks)[\w.]*|make)(?=\s|$)'
)


def _commands(page):
  """Yields (program, arguments) of every command in indented or fenced blocks and in code spans."""
  body = re.sub(r'```python\n.*?```', '', text(page), flags=re.DOTALL)
  body = body.replace('\\\n', ' ')
  lines = re.findall(r'^ {4,}(.*)$', body, re.MULTILINE)
  lines += [
    line
    for block in re.findall(r'```\w*\n(.*?)```', body, re.DOTALL)
    for line in block.splitlines()
  ]
  spans = [' '.join(span.split()) for span in re.findall(r'(?<!`)`([^`]+)`(?!`)', body)]
  # Flags by themselves belong to a command named before: they are checked one by one.
  spans = [f'air-jax ... {s}' if re.match(r'--(mode=|config[.=])', s) else s for s in spans]
  for line in lines + spans:
    if match := _PROGRAM.search(line):
      rest = line[match.end() :].removesuffix('&')
      if rest.count("'") % 2:  # the command is itself an argument in quotes
        rest = rest[: rest.rindex("'")]
      yield match[1].removeprefix('python -m ').strip(), shlex.split(rest)


@contextlib.contextmanager
def _no_flags():
  """Leaves the global flags empty for a while: programs define flags of the same names."""
  state = flags.FLAGS.__dict__
  kept = dict(state)
  state.update({key: {} for key, value in kept.items() if isinstance(value, dict)})
  try:
    yield
  finally:
    state.update(kept)


@functools.cache
def _flags_of(module):
  """The flags that a program defines as it is imported."""

  def programs():
    return [name for name in sys.modules if re.match(r'benchmarks\b|air_jax\.cli\.build', name)]

  before = {name: sys.modules.pop(name) for name in programs()}
  try:
    with _no_flags():
      importlib.import_module(module)
      return dict(flags.FLAGS._flags())
  finally:
    for name in programs():
      del sys.modules[name]
    for name, value in before.items():
      sys.modules[name] = value
      parent, _, child = name.rpartition('.')
      if parent in sys.modules:
        setattr(sys.modules[parent], child, value)


def _check_air_jax(arguments):
  """Parses the flags of air-jax as it does itself."""
  whole = not any(_is_placeholder(argument.partition('=')[2]) for argument in arguments)
  if whole := whole and '...' not in arguments:
    assert '--mode=parse' not in arguments or any(a.startswith('--images=') for a in arguments)
  if main._HELP & set(arguments):
    return
  values = main.define_flags()
  rest = command_line.parse(['air-jax', *(a for a in arguments if a != '...')], values)
  assert len(rest) == 1, f'{rest[1:]} are no flags'
  main._check(values)
  data = values.config.data
  for path in (values.images, data.dir, data.counts_csv):
    assert not path or _is_placeholder(path) or (ROOT / path).exists(), f'{path} is not there'
  if whole and not any(':' in argument for argument in arguments):  # ':' names an example's module
    schema.parse(values.config)


def _check_program(module, arguments):
  """Checks the flags of one of the other programs."""
  known = _flags_of(module)
  for argument in arguments:
    name, _, value = argument.removeprefix('--').partition('=')
    if not argument.startswith('--'):
      assert module == 'air_jax.cli.build_dataset', f'{argument} is no flag'
    elif name.startswith('config.'):
      key = name.removeprefix('config.')
      assert 'config' in known and key in schema.flatten(default.get_config()), f'no key {key}'
    else:
      assert name in known, f'there is no flag --{name}'
      assert '=' in argument or known[name].boolean, f'--{name} needs a value'
      if value and not _is_placeholder(value):
        known[name].parser.parse(value)


def _is_placeholder(value):
  return bool(_PLACEHOLDER.fullmatch(value))


@_load_module
@pytest.mark.parametrize('page', [page for page in PAGES if list(_commands(page))])
def test_commands_parse(page, monkeypatch):
  monkeypatch.chdir(ROOT)
  targets = re.findall(r'^([\w-]+):', text('Makefile'), re.MULTILINE)
  for program, arguments in _commands(page):
    command = ' '.join([program, *arguments])
    assert not re.search(r'\[-|<\w', command), f'{command} cannot be pasted'
    try:
      if program == 'make':
        assert {a for a in arguments if '=' not in a} <= set(targets)
      elif program in ('air-jax', 'python main.py', 'air_jax'):
        _check_air_jax(arguments)
      else:
        _check_program(program, arguments)
    except (AssertionError, UserError, ValueError) as error:
      raise AssertionError(f'{command}: {error}') from error


@_load_module
def test_commands_are_found_and_wrong_ones_refused(monkeypatch):
  monkeypatch.chdir(ROOT)
  found = list(_commands('docs/scaling.md'))
  assert ('air-jax', ['--workdir=RUN', '--distributed']) in found
  assert ('python main.py', ['--workdir=RUN', '--distributed']) in found
  assert ('benchmarks.soak', []) in found
  for wrong in (
    ['--sead=1'], ['--mode=trian'], ['--config=tny'], ['--config.train.sead=1'], ['FOLDER'],
    ['--config.seed=-1'], ['--mode=parse', '--images=nowhere'], ['--config.data.dir=nowhere'],
    ['--mode=parse', '--workdir=RUNS/x'], ['--draws=200'],
  ):  # fmt: skip
    with pytest.raises((AssertionError, UserError)):
      _check_air_jax(wrong)
  for wrong in (['--step=1'], ['--steps=none'], ['--steps'], ['FOLDER'], ['--config.sead=1']):
    with pytest.raises((AssertionError, ValueError)):
      _check_program('benchmarks.throughput', wrong)
