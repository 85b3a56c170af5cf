"""The documents: Python blocks run, names and links resolve, and the site builds."""

import json
import pathlib
import pkgutil
import re
import runpy
import subprocess
import sys
from unittest import mock

import optimised
import pytest
from documents import PAGES, ROOT, text

from air_jax import callbacks
from air_jax.config import schema
from air_jax.configs import default, tiny
from air_jax.training import population

# <!-- reason --> before a block: 'compile only: why', or 'needs: a module that is not installed'.
_BLOCK = re.compile(r'(?:<!-- (.*?) -->\n)?```python\n(.*?)```', re.DOTALL)
_FILE = re.compile(r'# (\w+\.py)\n')


def _blocks(page):
  """The (note, code) of each Python block, with shorter trainings."""
  return [(n or '', b.replace('steps=300', 'steps=3')) for n, b in _BLOCK.findall(text(page))]


# --- Python ---------------------------------------------------------------------------------------


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
def test_python_blocks_run(page, folder, capsys):
  names = {'__name__': 'block'}
  _run(page, names)
  printed = capsys.readouterr().out
  if page == 'README.md':
    assert len(names['parsed'].counts) == 8
  if page == 'docs/reusing_losses.md':
    assert float(re.fullmatch(r'([\d.]+) % of curves counted right\n', printed)[1]) > 98
  if page == 'docs/using_a_model.md':
    assert len(names['parsed'].counts) == 3 and len(names['moved'].counts) == 16
  if page == 'docs/generalisation.md':  # the model was trained on canvases of 50 pixels, with T = 3
    assert names['scenes'].count_probs.shape == (2, 7)
    assert names['scenes'].canvases.shape[1:3] == (100, 100)
  if page == 'docs/callbacks.md':
    assert printed.count('\n') >= 2  # one line for each evaluation


@pytest.mark.slow
def test_the_notebook_runs_from_any_folder(folder, capsys, monkeypatch):
  monkeypatch.setattr(population, 'advance', optimised.advance)
  notebook = json.loads(text('docs/tour.ipynb'))
  cells = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
  assert not any(cell['outputs'] or cell['execution_count'] for cell in cells), 'clear the outputs'
  names = {}
  for cell in cells:
    exec(compile(''.join(cell['source']), 'tour.ipynb', 'exec'), names)
  assert names['config'].train.steps <= 400
  assert names['accuracy'] > 0.9
  assert 'step' in capsys.readouterr().out, 'it must show progress'


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
  for name in set(_NAME.findall(text(page))) - keys.keys():
    try:
      pkgutil.resolve_name(name if name.startswith('air_jax') else f'air_jax.{name}')
    except (ImportError, AttributeError) as error:
      raise AssertionError(f'{name} is neither a name of the package nor a key') from error
  for path in _PATH.findall(text(page)):
    assert (ROOT / path).exists() or (ROOT / 'air_jax' / path).exists(), path


def test_readme_is_short():
  assert len(text('README.md').splitlines()) <= 180


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


@pytest.mark.slow
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
