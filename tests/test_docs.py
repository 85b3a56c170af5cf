"""The documents: Python blocks run, commands parse, links resolve, and the site builds."""

import contextlib
import functools
import importlib
import json
import pathlib
import pkgutil
import re
import runpy
import shlex
import subprocess
import sys
from unittest import mock

import pytest
from absl import flags

from air_jax import callbacks
from air_jax.cli import command_line, main
from air_jax.config import schema
from air_jax.configs import default, tiny
from air_jax.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md']
PAGES += sorted(f'docs/{path.name}' for path in ROOT.glob('docs/*.md'))

# <!-- reason --> before a block: 'compile only: why', or 'needs: a module that is not installed'.
_BLOCK = re.compile(r'(?:<!-- (.*?) -->\n)?```python\n(.*?)```', re.DOTALL)
_FILE = re.compile(r'# (\w+\.py)\n')
_PLACEHOLDER = re.compile(r'[A-Z_]+')  # such as FOLDER or K


def _text(page):
  return (ROOT / page).read_text()


def _blocks(page):
  """The (note, code) of each Python block, with shorter trainings."""
  return [(n or '', b.replace('steps=300', 'steps=20')) for n, b in _BLOCK.findall(_text(page))]


# --- Python ---------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def quick(compile_cache):
  """Blocks train for a few steps: most of their time is compilation, which other tests share."""


@pytest.fixture
def folder(tmp_path, monkeypatch, scene_cache):
  """An empty working directory, whose modules can be imported."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.setenv('XDG_CACHE_HOME', scene_cache)
  before = set(sys.modules)
  yield tmp_path
  for name in set(sys.modules) - before:
    if str(tmp_path) in str(getattr(sys.modules[name], '__file__', '')):
      del sys.modules[name]


def _run(page, names):
  """Executes the blocks of a page, one after another, with the same names."""
  for note, block in _blocks(page):
    code = compile(block, page, 'exec')
    if note.startswith('compile only:'):
      continue
    if match := _FILE.match(block):
      pathlib.Path(match[1]).write_text(block)
      continue
    if note.startswith('needs: '):
      with mock.patch.dict(sys.modules, {note.removeprefix('needs: '): mock.MagicMock()}):
        exec(code, names)
        _drive(list(names.values())[-1]())
      continue
    assert not note, f'{note!r} is no known reason'
    exec(code, names)


def _drive(callback):
  """Reports a short run to a callback."""
  callback.on_start(0, schema.parse(tiny.get_config()))
  for member in (None, 3):
    callback.on_metrics(callbacks.MetricsRecord(5, 'train', member, {'elbo': -1.0}))
  for name in ('scene.png', 'scene.gif'):
    callback.on_figure(callbacks.FigureRecord(5, None, 'scene', pathlib.Path(name)))
  callback.on_end(None)


@pytest.mark.slow
@pytest.mark.parametrize('page', [page for page in PAGES if _blocks(page)])
def test_python_blocks_run(page, quick, folder, capsys):
  names = {'__name__': 'block'}
  _run(page, names)
  printed = capsys.readouterr().out
  if page == 'README.md':
    assert len(names['parsed'].counts) == 8
  if page == 'docs/reusing_losses.md':
    assert float(re.fullmatch(r'([\d.]+) % of curves counted right\n', printed)[1]) > 98
  if page == 'docs/using_a_model.md':
    assert len(names['parsed'].counts) == 3 and len(names['moved'].counts) == 16
  if page == 'docs/callbacks.md':
    assert printed.count('\n') >= 2  # one line for each evaluation


@pytest.mark.slow
def test_the_notebook_runs_from_any_folder(quick, folder, capsys):
  notebook = json.loads(_text('docs/tour.ipynb'))
  cells = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
  assert not any(cell['outputs'] or cell['execution_count'] for cell in cells), 'clear the outputs'
  names = {}
  for cell in cells:
    exec(compile(''.join(cell['source']), 'tour.ipynb', 'exec'), names)
  assert names['config'].train.steps <= 400
  assert names['accuracy'] > 0.9
  assert 'step' in capsys.readouterr().out, 'it must show progress'


# --- commands -------------------------------------------------------------------------------------

# ml_collections loads a configuration by a method that Python 3.12 removes.
_load_module = pytest.mark.filterwarnings(r'ignore:the load_module\(\):DeprecationWarning')
_PROGRAM = re.compile(
  r'(?:^|[\s/=&])(air-jax|python main\.py|python -m (?:air_jax|benchmarks)[\w.]*|make)(?=\s|$)'
)


def _commands(page):
  """Yields (program, arguments) of every command in indented or fenced blocks and in code spans."""
  text = re.sub(r'```python\n.*?```', '', _text(page), flags=re.DOTALL)
  text = text.replace('\\\n', ' ')
  lines = re.findall(r'^ {4,}(.*)$', text, re.MULTILINE)
  lines += [
    line
    for block in re.findall(r'```\w*\n(.*?)```', text, re.DOTALL)
    for line in block.splitlines()
  ]
  spans = [' '.join(span.split()) for span in re.findall(r'(?<!`)`([^`]+)`(?!`)', text)]
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
  targets = re.findall(r'^([\w-]+):', _text('Makefile'), re.MULTILINE)
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


# --- pages ----------------------------------------------------------------------------------------


def _anchors(path):
  headings = re.findall(
    r'^#+ (.*)$', re.sub(r'```.*?```', '', path.read_text(), flags=re.DOTALL), re.MULTILINE
  )
  return {
    re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-') for heading in headings
  }


@pytest.mark.parametrize('page', PAGES)
def test_links_resolve(page):
  path = ROOT / page
  for target, anchor in re.findall(r'\]\(([^)#]*)(?:#([^)]*))?\)', path.read_text()):
    if not target.startswith('http'):
      linked = path.parent / target if target else path
      assert linked.exists(), target
      assert not anchor or anchor in _anchors(linked), f'{target}#{anchor}'


_FOLDERS = '|'.join(path.name for path in (ROOT / 'air_jax').iterdir() if path.is_dir())
_NAME = re.compile(rf'`((?:air_jax|{_FOLDERS}|objective|train|members)\.(?!json)[\w.]+)`')
_PATH = re.compile(rf'`((?:air_jax|docs|tests|{_FOLDERS})/[\w./]*)`')


@pytest.mark.parametrize('page', [page for page in PAGES if page != 'CHANGELOG.md'])
def test_names_in_the_text_exist(page):
  keys = schema.flatten(default.get_config())
  for name in set(_NAME.findall(_text(page))) - keys.keys():
    try:
      pkgutil.resolve_name(name if name.startswith('air_jax') else f'air_jax.{name}')
    except (ImportError, AttributeError) as error:
      raise AssertionError(f'{name} is neither a name of the package nor a key') from error
  for path in _PATH.findall(_text(page)):
    assert (ROOT / path).exists() or (ROOT / 'air_jax' / path).exists(), path


def test_readme_is_short():
  assert len(_text('README.md').splitlines()) <= 180


def test_sample_pictures_are_those_of_their_script(tmp_path):
  script = ROOT / 'docs/photos/make.py'
  runpy.run_path(str(script))
  with mock.patch.object(pathlib.Path, 'with_name', lambda self, name: tmp_path / name):
    runpy.run_path(str(script), run_name='__main__')
  kept = sorted(script.parent.glob('*.png'))
  assert [path.name for path in kept] == sorted(path.name for path in tmp_path.iterdir())
  for path in kept:
    assert path.read_bytes() == (tmp_path / path.name).read_bytes()
  assert sum(path.stat().st_size for path in kept) < 50_000


def test_the_site_builds_without_warnings(tmp_path):
  """A process of its own: MkDocs and its plugins emit Python warnings that are errors here."""
  pytest.importorskip('mkdocstrings')
  done = subprocess.run(
    [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', tmp_path],
    cwd=ROOT, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  page = (tmp_path / 'api/air_jax_objectives/index.html').read_text()
  assert 'air_jax.objectives.count.exact' in page
  html = (tmp_path / 'index.html').read_text()
  assert not re.search(r'(?:src|href)="https?://[^"]*\.(?:js|css|woff2?)"', html), (
    'loads from the net'
  )
