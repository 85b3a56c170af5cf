"""The README's Python runs as it stands there, and comes to what is said of it."""

import pathlib
import re
import shutil

import numpy as np

README = pathlib.Path(__file__).resolve().parents[1] / 'README.md'


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
