"""Compiled programs on disk: where, when not, and that a second start uses them."""

import os
import pathlib
import subprocess
import sys

import pytest

from air_jax.runtime import compilation_cache

pytestmark = pytest.mark.slow

PROGRAM = """
import jax, logging
from air_jax.runtime import compilation_cache
compilation_cache._SHORTEST_S = 0.0
compilation_cache.enable()
print(jax.config.jax_compilation_cache_dir)
hits = []
jax.monitoring.register_event_listener(lambda name, **about: hits.append(name))
assert jax.jit(lambda x: x + 1)(1) == 2
print(sum(name == '/jax/compilation_cache/cache_hits' for name in hits))
"""


@pytest.fixture
def start(tmp_path):
  """Runs that program with a home of its own: the folder of what it kept, its hits, its log."""

  def run(**environment):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(('JAX_', 'XDG_'))}
    done = subprocess.run(
      [sys.executable, '-c', PROGRAM], cwd=pathlib.Path(__file__).parent.parent, text=True,
      env=inherited | {'HOME': str(tmp_path)} | environment, capture_output=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder, hits = done.stdout.split()
    return folder, int(hits), done.stderr

  return run


def test_a_second_start_finds_what_the_first_compiled(start, tmp_path):
  folder, hits, _ = start()
  assert pathlib.Path(folder).parent == tmp_path / '.cache' / 'air_jax' / 'compiled'
  assert hits == 0 and list(pathlib.Path(folder).iterdir())
  again, hits, _ = start()
  assert again == folder and hits > 0


def test_what_a_killed_program_left_half_written_is_written_anew(start):
  folder, *_ = start()
  (entry,) = pathlib.Path(folder).glob('*lambda*-cache')
  content = entry.read_bytes()
  for broken in (content[: len(content) // 2], b''):
    entry.write_bytes(broken)
    _, hits, said = start()
    assert 'Error reading' not in said and entry.stat().st_size == len(content)
  assert start()[1] > 0


def test_the_users_own_choice_is_obeyed(start, tmp_path):
  own = str(tmp_path / 'own')
  assert start(JAX_COMPILATION_CACHE_DIR=own)[0] == own
  assert start(JAX_ENABLE_COMPILATION_CACHE='false')[0] == 'None'
  assert not (tmp_path / '.cache').exists()


def test_a_home_that_cannot_be_written_to_is_done_without(start, tmp_path):
  (tmp_path / '.cache').write_text('not a folder')
  folder, hits, said = start()
  assert (folder, hits) == ('None', 0)
  assert 'compiled programs are not kept' in said


def test_processors_that_know_other_instructions_share_nothing(monkeypatch):
  ours = compilation_cache._processor()
  monkeypatch.setattr(pathlib.Path, 'read_text', lambda self: 'flags : fpu avx2\n')
  older = compilation_cache._processor()
  monkeypatch.setattr(pathlib.Path, 'read_text', lambda self: 'flags : fpu avx2 avx512f\n')
  assert len({ours, older, compilation_cache._processor()}) == 3
