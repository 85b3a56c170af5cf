"""What a run was made with: an entry for each start, kept whatever becomes of the file."""

import datetime
import errno
import importlib.metadata
import logging
import os
import platform
import subprocess
import sys

import jax
import pytest

import air_jax
from air_jax.storage import provenance


def test_each_start_adds_an_entry(tmp_path):
  before = datetime.datetime.now().astimezone()
  provenance.record(tmp_path, 0, ['/some/where/main.py', '--config=tiny', 'a b'])
  provenance.record(tmp_path, 20)
  first, second = provenance.read(tmp_path)
  assert (first['step'], second['step']) == (0, 20)
  assert first['command'] == ['main.py', '--config=tiny', 'a b']
  assert second['command'][1:] == sys.argv[1:]
  started = datetime.datetime.fromisoformat(first['started'])
  assert started.tzinfo and abs(started - before) < datetime.timedelta(seconds=60)
  assert (first['host'], first['pid']) == (platform.node(), os.getpid())
  assert first['device'] == f'{jax.device_count()} x {jax.devices()[0].device_kind}'
  versions = first['versions']
  assert versions['air_jax'] == air_jax.__version__
  assert versions['python'] == platform.python_version()
  for name in ('jax', 'jaxlib', 'flax', 'optax'):
    assert versions[name] == importlib.metadata.version(name)


def test_training_records_its_starts(finished_run):
  (start,) = provenance.read(finished_run)
  assert start['step'] == 0 and start['processes'] == 1


def test_a_library_that_is_not_installed_is_left_out(tmp_path, monkeypatch):
  monkeypatch.setattr(provenance, '_LIBRARIES', ('jax', 'no-such-library'))
  provenance.record(tmp_path, 0)
  assert provenance.read(tmp_path)[0]['versions'].keys() == {'air_jax', 'python', 'jax'}


@pytest.mark.parametrize('text', ['[{"step": 0', '{"step": 0}', '[0]', ''])
def test_a_damaged_file_is_named_and_set_aside(tmp_path, caplog, text):
  assert provenance.read(tmp_path) == []
  (tmp_path / 'provenance.json').write_text(text)
  with caplog.at_level(logging.WARNING):
    assert provenance.read(tmp_path) == []
    provenance.record(tmp_path, 5)
  assert all('provenance.json is damaged' in record.getMessage() for record in caplog.records)
  assert [start['step'] for start in provenance.read(tmp_path)] == [5]
  assert (tmp_path / 'damaged-provenance.json').read_text() == text


def test_a_full_disk_is_logged_and_keeps_nobody_from_training(tmp_path, monkeypatch, caplog):
  provenance.record(tmp_path, 0)

  def fail(*_):
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(os, 'fsync', fail)
  with caplog.at_level(logging.WARNING):
    provenance.record(tmp_path, 5)
  assert 'provenance.json cannot be written: No space left on device' in caplog.text
  assert [start['step'] for start in provenance.read(tmp_path)] == [0]


def test_the_commit_and_whether_files_were_changed(tmp_path, monkeypatch):
  assert provenance._commit(tmp_path) is None
  for name in ('GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE'):
    monkeypatch.delenv(name, raising=False)

  def git(*arguments):
    own = ['-c', 'user.name=a', '-c', 'user.email=a@b.c', '-c', 'commit.gpgsign=false']
    command = ['git', '-C', str(tmp_path), *own, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

  git('init', '-q')
  assert provenance._commit(tmp_path) is None  # nothing was committed
  (tmp_path / 'code').write_text('1')
  git('add', 'code')
  git('commit', '-q', '-m', 'first')
  (tmp_path / 'notes').write_text('not of the source')
  commit = git('rev-parse', 'HEAD')[:12]
  assert provenance._commit(tmp_path) == commit
  (tmp_path / 'code').write_text('2')
  assert provenance._commit(tmp_path) == f'{commit}+'
  monkeypatch.setenv('PATH', '')
  assert provenance._commit(tmp_path) is None
