"""The documents: Python blocks run, commands parse, links resolve, and the site builds."""

import ast
import importlib
import json
import pathlib
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from unittest import mock

import pytest
from absl import flags

import air_jax
from air_jax.config import schema

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
  return [(note or '', block) for note, block in _BLOCK.findall(_text(page))]


# --- Python ---------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def quick(compile_quickly, compile_cache):
  """Blocks train for a few steps, so that most of their time is compilation."""


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


def _uses_the_api(block):
  return 'air_jax.' in block.replace('from air_jax.', '').replace('import air_jax.', '')


def _run(page, names):
  """Executes the blocks of a page, one after another, with the same names."""
  if any(_uses_the_api(block) for _, block in _blocks(page)) and not hasattr(air_jax, 'fit'):
    pytest.skip('air_jax.fit and air_jax.train are not there yet')
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
  from air_jax import callbacks
  from air_jax.configs import tiny

  callback.on_start(0, schema.parse(tiny.get_config()))
  for member in (None, 3):
    callback.on_metrics(callbacks.MetricsRecord(5, 'train', member, {'elbo': -1.0}))
  for name in ('scene.png', 'scene.gif'):
    callback.on_figure(callbacks.FigureRecord(5, None, 'scene', pathlib.Path(name)))
  callback.on_end(None)


@pytest.mark.parametrize('page', [page for page in PAGES if _blocks(page)])
def test_python_blocks_run(page, quick, folder, capsys):
  names = {'__name__': 'block'}
  _run(page, names)
  printed = capsys.readouterr().out
  if page == 'README.md':
    assert (
      len(names['parsed'].counts) == 8
      and len(air_jax.load('squares').parse(names['images'][:2]).counts) == 2
    )
  if page == 'docs/reusing_losses.md':
    assert float(re.fullmatch(r'([\d.]+) % of curves counted right\n', printed)[1]) > 98
  if page == 'docs/using_a_model.md':
    assert len(names['parsed'].counts) == 3 and len(names['moved'].counts) == 16
  if page == 'docs/callbacks.md':
    assert printed.count('\n') >= 2  # one line for each evaluation


def test_the_notebook_runs_from_any_folder(quick, folder, capsys):
  notebook = json.loads(_text('docs/tour.ipynb'))
  cells = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
  assert not any(cell['outputs'] or cell['execution_count'] for cell in cells), 'clear the outputs'
  if not hasattr(air_jax, 'train'):
    pytest.skip('air_jax.train is not there yet')
  names = {}
  for cell in cells:
    exec(compile(''.join(cell['source']), 'tour.ipynb', 'exec'), names)
  assert names['config'].train.steps <= 400
  assert names['accuracy'] > 0.9
  assert 'step' in capsys.readouterr().out, 'it must show progress'


# --- commands -------------------------------------------------------------------------------------

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


def _flags_of(module):
  """The flags that a program defines as it is imported."""
  state = flags.FLAGS.__dict__
  kept = dict(state)
  own = [
    m for m in sys.modules if re.match(r'(main|benchmarks|air_jax\.cli|air_jax\.__main__)(\.|$)', m)
  ]
  modules = {name: sys.modules.pop(name) for name in own}
  try:
    state.update({key: {} for key, value in kept.items() if isinstance(value, dict)})
    with warnings.catch_warnings():
      # ml_collections loads a default configuration by a method that Python 3.12 removes.
      warnings.simplefilter('ignore', DeprecationWarning)
      importlib.import_module(module)
    return dict(flags.FLAGS._flags())
  finally:
    state.update(kept)
    for name in list(sys.modules):
      if re.match(r'(main|benchmarks|air_jax\.cli|air_jax\.__main__)(\.|$)', name):
        del sys.modules[name]
    for name, value in modules.items():
      sys.modules[name] = value
      parent, _, child = name.rpartition('.')
      if parent in sys.modules:
        setattr(sys.modules[parent], child, value)


@pytest.fixture(scope='module')
def flags_of():
  """A function that gives the flags of a program, each imported once."""
  known = {}

  def get(program):
    if program in ('air-jax', 'python main.py', 'air_jax'):
      program = 'air_jax.cli.main' if (ROOT / 'air_jax/cli/main.py').exists() else 'main'
    if program not in known:
      known[program] = _flags_of(program)
    return known[program]

  return get


def _is_placeholder(value):
  return bool(_PLACEHOLDER.fullmatch(value))


def _check_flag(known, name, value):
  """Checks one --name or --name=value that is not of the configuration."""
  if name not in known and name.startswith('no'):
    name, value = name.removeprefix('no'), 'False'
    assert known[name].boolean
  assert name in known, f'there is no flag --{name}'
  if value is None:
    assert known[name].boolean, f'--{name} needs a value'
  elif not _is_placeholder(value):
    known[name].parser.parse(value)
  if name == 'images' and not _is_placeholder(value):
    assert (ROOT / value).exists(), f'{value} is not there'


def _check_config(config_name, overrides, whole=True):
  """Checks the configuration of a command, as a whole if all its values are given."""
  path = ROOT / config_name if config_name.endswith('.py') else ROOT / f'configs/{config_name}.py'
  assert path.is_file(), f'there is no configuration {config_name}'
  config = runpy.run_path(str(path))['get_config']()
  for key, value in overrides:
    *sections, last = key.split('.')
    section = config
    for name in sections:
      section = section[name]
    assert last in section, f'there is no key {key}'
    if _is_placeholder(value) or ':' in value:
      whole = False
      continue
    default = section[last]
    text = isinstance(default, str)
    section[last] = value if text else type(default)(ast.literal_eval(value))
    if key in ('data.dir', 'data.counts_csv') and value:
      assert (ROOT / value).exists(), f'{value} is not there'
  if whole:
    schema.parse(config)


@pytest.mark.parametrize('page', [page for page in PAGES if list(_commands(page))])
def test_commands_parse(page, flags_of):
  targets = re.findall(r'^(\w+):', _text('Makefile'), re.MULTILINE)
  for program, arguments in _commands(page):
    command = ' '.join([program, *arguments])
    assert not re.search(r'\[-|<\w', command), f'{command} cannot be pasted'
    if program == 'make':
      wanted = [argument for argument in arguments if '=' not in argument]
      assert set(wanted) <= set(targets), command
      continue
    known, config_name, overrides = flags_of(program), 'multi_digits', []
    for argument in arguments:
      name, _, value = argument.partition('=')
      if not name.startswith('--'):
        allowed = argument == '...' or program == 'air_jax.cli.build_dataset'
        assert allowed, f'{command}: {argument} is no flag'
      elif name.startswith('--config.'):
        assert 'config' in known, command
        overrides.append((name.removeprefix('--config.'), value))
      elif name == '--config':
        config_name = value
      else:
        _check_flag(known, name.removeprefix('--'), value if '=' in argument else None)
    if 'config' in known and not _is_placeholder(config_name):
      _check_config(config_name, overrides, whole='...' not in arguments)


def test_the_test_sees_commands_and_refuses_wrong_ones(flags_of):
  found = list(_commands('docs/scaling.md'))
  assert ('air-jax', ['--workdir=RUN', '--distributed']) in found
  assert ('python main.py', ['--workdir=RUN', '--distributed']) in found
  assert ('benchmarks.soak', []) in found
  known = flags_of('air-jax')
  for name, value in (('sead', '1'), ('mode', 'trian'), ('images', 'nowhere'), ('workdir', None)):
    with pytest.raises((AssertionError, ValueError)):
      _check_flag(known, name, value)
  for name, overrides in (('tiny', [('train.sead', '1')]), ('tny', []), ('tiny', [('seed', '-1')])):
    with pytest.raises(
      (AssertionError, air_jax.UserError if hasattr(air_jax, 'UserError') else Exception)
    ):
      _check_config(name, overrides)


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
