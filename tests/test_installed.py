"""The package as others install it: built, put elsewhere, and used from a folder of its own."""

import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import air_jax
from air_jax.cli import command_line

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
  """The folder that a wheel is installed in. Built from a copy: setuptools leaves files behind."""
  folder = tmp_path_factory.mktemp('wheel')
  source = folder / 'source'
  source.mkdir()
  for name in ('air_jax', 'configs'):
    shutil.copytree(
      ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns('__pycache__')
    )
  for name in ('pyproject.toml', 'README.md', 'LICENSE'):
    shutil.copy(ROOT / name, source)
  pip = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check']
  wheel = [*pip, 'wheel', '--no-deps', '--no-build-isolation', '--wheel-dir', folder, source]
  subprocess.run(wheel, check=True, capture_output=True)
  (path,) = folder.glob('*.whl')
  target = folder / 'target'
  subprocess.run([*pip, 'install', '--no-deps', '--target', target, path], check=True)
  return target


@pytest.fixture
def start(installed, tmp_path):
  """Runs the installed package in an empty folder; it must end well. Returns stdout."""

  def starting(*command, path=''):
    environment = os.environ | {'PYTHONPATH': f'{installed}{os.pathsep}{path}'}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout

  return starting


def test_wheel_holds_what_the_source_does(installed):
  def files(root):
    found = (path.relative_to(root) for path in (root / 'air_jax').rglob('*') if path.is_file())
    return {str(path) for path in found if '__pycache__' not in path.parts}

  ours = files(ROOT) | {f'air_jax/configs/{path.name}' for path in (ROOT / 'configs').glob('*.py')}
  assert files(installed) == ours
  assert 'air_jax/py.typed' in ours and 'air_jax/inference/report/page.html' in ours
  assert 'air_jax/inference/demo/page.js' in ours and 'air_jax/inference/demo/controls.js' in ours
  assert [path.name for path in installed.iterdir() if path.name[:4] not in ('bin', 'air_')] == []


def test_version_is_in_one_place(installed):
  (metadata,) = importlib.metadata.distributions(path=[str(installed)])
  assert (metadata.metadata['Name'], metadata.version) == ('air_jax', air_jax.__version__)
  (script,) = metadata.entry_points.select(group='console_scripts')
  assert (script.name, script.value) == ('air-jax', 'air_jax.cli.main:main')


def test_extras_are_those_that_the_program_asks_for(installed):
  (metadata,) = importlib.metadata.distributions(path=[str(installed)])
  extras = set(metadata.metadata.get_all('Provides-Extra'))
  asked = {
    part.partition("'")[0]
    for path in (ROOT / 'air_jax').rglob('*.py')
    for part in path.read_text().split("extras.needed('")[1:]
  }
  assert asked <= extras - {'all', 'dev'} and 'demo' in asked


LACKS = {
  'evaluate': ('sklearn', 'data'), 'demo': ('uvicorn', 'demo'), 'export': ('flatbuffers', 'export'),
  'figures': ('matplotlib', 'plots'), 'report': ('matplotlib', 'plots'),
}  # fmt: skip
OPTIONAL = {name for name, _ in LACKS.values()} | {'grain', 'requests', 'tensorflow_datasets'}
WITHOUT_EXTRAS = """
import sys
import numpy as np
import air_jax, air_jax.objectives
from air_jax.cli import main
print(air_jax.load(sys.argv[1]).parse(np.zeros((2, 50, 50), np.uint8)).counts.shape)
sys.stderr = sys.stdout
workdir, *modes = sys.argv[1:]
for mode in modes:
  sys.argv[1:] = [f"--mode={mode}", f"--workdir={workdir}"]
  try:
    main.main()
  except SystemExit as end:
    assert end.code == 2
"""


def test_without_extras_models_load_and_modes_name_what_they_lack(start, copy, tmp_path):
  (tmp_path / 'sitecustomize.py').write_text(f"""
import sys

class Missing:
  def find_spec(name, *args):
    if name.partition('.')[0] in {OPTIONAL}:
      raise ModuleNotFoundError('none', name=name)
sys.meta_path.insert(0, Missing)
""")
  config = json.loads((copy / 'config.json').read_text())
  config['data']['cache_dir'] = str(tmp_path / 'empty')
  (copy / 'config.json').write_text(json.dumps(config))
  out = start(sys.executable, '-c', WITHOUT_EXTRAS, copy, *LACKS, path=tmp_path)
  first, *lines = out.splitlines()
  assert first == '(2,)'
  lines = [line for line in lines if 'which is not installed' in line]
  for line, (name, extra) in zip(lines, LACKS.values(), strict=True):
    assert f"needs {name}, which is not installed: pip install 'air_jax[{extra}]'" in line


def test_command_lists_the_shipped_configurations(installed, start):
  script = installed / 'bin' / 'air-jax'
  out = start(sys.executable, script, '--help') if os.name == 'nt' else start(script, '--help')
  assert out.startswith('usage: air-jax ')
  for name in command_line.configurations():
    assert f'  {name} ' in out


def test_module_draws_the_scenes_of_a_configuration_by_name(installed, start, tmp_path):
  where = 'import air_jax; print(air_jax.__file__)'
  assert start(sys.executable, '-c', where).strip() == str(installed / 'air_jax/__init__.py')
  out = start(
    sys.executable, '-m', 'air_jax', '--mode=figures', '--config=tiny',
    '--config.data.source=sprites', '--config.data.cache_dir=cache',
  )  # fmt: skip
  assert out.split() == ['runs/tiny/figures/scenes.png']
  assert (tmp_path / 'runs/tiny/figures/scenes.png').stat().st_size > 1000
