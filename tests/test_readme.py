"""The README's Python runs as it stands there, and comes to what is said of it."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = ROOT / 'README.md'


EXAMPLES = re.findall(r'```python\n(.*?)```', README.read_text(), re.DOTALL)


def test_a_trained_model_is_used_as_it_says(finished_run, tmp_path, monkeypatch):
  use, exported, _ = EXAMPLES
  shutil.copytree(finished_run, tmp_path / 'runs' / 'multi_digits')
  monkeypatch.chdir(tmp_path)
  names = {'images': np.zeros((2, 50, 50, 1), np.uint8)}
  exec(use, names)
  assert len(names['moved'].counts) == 16 and len(names['scene'].counts) == 2
  pathlib.Path('parser.jax').write_bytes(names['model'].export())
  exec(exported, names)


def test_reuse_example_learns_to_count(capsys):
  *_, example = EXAMPLES
  exec(example, {})
  share = re.fullmatch(r'([\d.]+) % of curves counted right\n', capsys.readouterr().out)
  assert float(share[1]) > 98


def test_the_notebook_runs_from_top_to_bottom(monkeypatch, tmp_path):
  notebook = json.loads((ROOT / 'docs' / 'tour.ipynb').read_text())
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.chdir(tmp_path)
  names = {}
  for cell in notebook['cells']:
    if cell['cell_type'] == 'code':
      assert cell['outputs'] or cell['metadata'].get('silent'), 'it must be kept as it ran'
      exec(''.join(cell['source']), names)
  assert names['accuracy'] > 0.9


@pytest.mark.parametrize('page', ['README.md', *(f'docs/{p.name}' for p in ROOT.glob('docs/*.md'))])
def test_what_pages_link_to_is_there(page):
  path = ROOT / page
  for target in re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)', path.read_text()):
    assert target.startswith('http') or (path.parent / target).exists(), target
