"""The command `air-jax`, called in this process, which has imported and compiled most already."""

import sys

from air_jax.cli import main as program
from air_jax.runtime import compilation_cache


def call(monkeypatch, capsys, *arguments):
  """Its exit code, stdout and stderr."""
  monkeypatch.setattr(sys, 'argv', ['air-jax', *map(str, arguments)])
  monkeypatch.setattr(compilation_cache, 'enable', lambda: None)
  monkeypatch.delitem(sys.modules, 'config_config', raising=False)  # what an earlier file defined
  code = 0
  try:
    program.main()
  except SystemExit as end:
    code = end.code
  return code, *capsys.readouterr()
