"""The README's Python runs as it stands there, and comes to what is said of it."""

import pathlib
import re

README = pathlib.Path(__file__).resolve().parents[1] / 'README.md'


def test_reuse_example_learns_to_count(capsys):
  (example,) = re.findall(r'```python\n(.*?)```', README.read_text(), re.DOTALL)
  exec(example, {})
  share = re.fullmatch(r'([\d.]+) % of curves counted right\n', capsys.readouterr().out)
  assert float(share[1]) > 98
