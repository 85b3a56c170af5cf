"""`make bench`: what is kept of each benchmark, and what of one that fails."""

import json
import os
import subprocess

import pytest

from benchmarks import bench


@pytest.fixture
def kept(tmp_path, monkeypatch):
  """The file that they are kept in, with benchmarks that are made here."""
  monkeypatch.setattr(bench, 'KEPT', tmp_path / 'benchmarks.json')
  monkeypatch.setattr(bench, 'BENCHMARKS', {'quick': ['--rounds=1'], 'slow': [], 'broken': []})
  return tmp_path / 'benchmarks.json'


@pytest.fixture
def started(monkeypatch):
  """The commands that were started, in place of starting them; `broken` fails."""
  commands, run = [], subprocess.run

  def fake(command, **settings):
    if '-m' not in command:
      return run(command, **settings)
    commands.append(command[1:])
    number = len(commands)
    if command[2] == 'benchmarks.slow' and 'late' in os.environ:
      raise subprocess.TimeoutExpired(command, settings['timeout'])
    failed = command[2] == 'benchmarks.broken'
    return subprocess.CompletedProcess(command, int(failed), f'step {number} ms\nmore\n')

  monkeypatch.setattr(subprocess, 'run', fake)
  return commands


def main(monkeypatch, *names):
  monkeypatch.setattr('sys.argv', ['bench', *names])
  bench.main()


def test_each_is_kept_with_machine_versions_and_commit(kept, started, monkeypatch):
  main(monkeypatch, 'quick', 'slow')
  assert started == [['-m', 'benchmarks.quick', '--rounds=1'], ['-m', 'benchmarks.slow']]
  found = json.loads(kept.read_text())
  assert [*found] == ['quick', 'slow']
  entry = found['quick']
  assert entry['command'] == 'python -m benchmarks.quick --rounds=1'
  assert entry['printed'] == ['step 1 ms', 'more']
  assert entry['versions']['jax'] and len(entry['commit'].rstrip('+')) == 12
  assert entry['cores'] == len(os.sched_getaffinity(0)) and entry['memory_gb'] > 0
  assert entry['processor'] and entry['device'] and entry['load'] >= 0 and entry['seconds'] >= 0


def test_those_that_are_not_run_again_stay(kept, started, monkeypatch):
  main(monkeypatch, 'quick', 'slow')
  main(monkeypatch, 'quick')
  found = json.loads(kept.read_text())
  assert found['quick']['printed'][0] == 'step 3 ms' and found['slow']['printed'][0] == 'step 2 ms'


def test_what_fails_or_takes_too_long_is_named_and_keeps_nothing(
  kept, started, monkeypatch, capsys
):
  monkeypatch.setenv('late', '1')
  with pytest.raises(SystemExit) as caught:
    main(monkeypatch)
  assert caught.value.code != 0
  assert 'failed, and kept nothing: slow, broken' in capsys.readouterr().err
  assert [*json.loads(kept.read_text())] == ['quick']


def test_an_unknown_name_is_refused(kept, started, monkeypatch, capsys):
  with pytest.raises(SystemExit):
    main(monkeypatch, 'speed')
  assert "no benchmark 'speed'; there are quick, slow, broken" in capsys.readouterr().err
  assert started == []


def test_all_that_make_bench_runs_are_benchmarks():
  folder = bench.KEPT.parent.parent / 'benchmarks'
  assert {path.stem for path in folder.glob('*.py')} >= {*bench.BENCHMARKS}
