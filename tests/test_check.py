"""--mode=check: what is damaged is named and mended, and nothing is deleted."""

import os
import pathlib

import program
import pytest
import run_folder

from air_jax.cli import check
from air_jax.errors import UserError
from air_jax.storage import metric_writers, run_check, run_dir, run_lock
from air_jax.storage.run_check import DAMAGED, MENDED, SOUND

pytestmark = pytest.mark.filterwarnings(
  'ignore::pytest.PytestUnraisableExceptionWarning',  # of readers that orbax gives up
  r'ignore:the load_module\(\) method:DeprecationWarning',
)


def states(found):
  return {each.name: each.state for each in found}


def damage(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 0x10
  path.write_bytes(content)


def largest(folder):
  return max((path for path in folder.rglob('*') if path.is_file()), key=os.path.getsize)


def contents(folder):
  return sorted(path.read_bytes() for path in folder.rglob('*') if path.is_file())


def test_a_sound_run_is_left_as_it_is(copy):
  before = contents(copy)
  found = states(check.check_run(copy))
  assert set(found.values()) == {SOUND}
  assert {
    'config.json', 'provenance.json', 'metrics.jsonl', 'evaluation.json',
    'checkpoints/10', 'checkpoints/15', 'checkpoints/20',
  } == set(found)  # fmt: skip
  assert contents(copy) == before


def test_what_is_damaged_is_mended_and_kept(copy):
  known = run_dir.read_evaluation(copy)
  records = metric_writers.read_metrics(copy)
  damage(largest(copy / 'checkpoints' / '15'))
  (copy / 'evaluation.json').write_text('{"half":')
  (copy / 'provenance.json').write_text('[3]')
  lines = (copy / 'metrics.jsonl').read_bytes().splitlines(keepends=True)
  (copy / 'metrics.jsonl').write_bytes(b''.join([lines[0], b'\0\xff\n', *lines[1:]]))
  damaged = [path.read_bytes() for path in (copy / 'evaluation.json', copy / 'metrics.jsonl')]

  found = check.check_run(copy)
  mended = {each.name: each.text for each in found if each.state == MENDED}
  assert mended.keys() == {
    'checkpoints/15', 'evaluation.json', 'provenance.json', 'metrics.jsonl'
  }  # fmt: skip
  assert 'lines without a record are left out: 2' in mended['metrics.jsonl']
  assert run_dir.read_evaluation(copy) == known
  assert metric_writers.read_metrics(copy) == records
  assert run_folder.checkpoints_of(copy) == [10, 20]
  assert len(list((copy / 'checkpoints').glob('damaged-15-*'))) == 1
  assert [(copy / f'damaged-0-{name}').read_bytes()
          for name in ('evaluation.json', 'metrics.jsonl')] == damaged  # fmt: skip
  assert set(states(check.check_run(copy)).values()) == {SOUND}


def test_what_cannot_be_mended_is_named(copy):
  for step in (10, 15, 20):
    damage(largest(copy / 'checkpoints' / str(step)))
  found = states(check.check_run(copy))
  assert found['checkpoints'] == found['checkpoints/20'] == DAMAGED
  assert run_folder.checkpoints_of(copy) == [10, 15, 20]

  (copy / 'config.json').write_text('{}')
  with pytest.raises(UserError, match='holds no run'):
    check.check_run(copy)


def test_a_run_that_may_only_be_read_is_only_looked_at(copy, monkeypatch):
  (copy / 'evaluation.json').write_text('')
  before = contents(copy)

  def refuse(path, *_):
    raise PermissionError(13, 'Permission denied', str(path))

  monkeypatch.setattr(run_lock, 'acquire', refuse)
  monkeypatch.setattr(pathlib.Path, 'rename', refuse)
  (found,) = (each for each in check.check_run(copy) if each.state != SOUND)
  assert found == run_check.Finding(
    'evaluation.json', DAMAGED, 'damaged; not mended: Permission denied'
  )
  assert contents(copy) == before


def test_the_exit_status_says_whether_all_is_well(copy, monkeypatch, capsys):
  def call():
    return program.call(monkeypatch, capsys, '--mode=check', f'--workdir={copy}')

  code, out, _ = call()
  assert code == 0 and 'sound    checkpoints/20' in out
  (copy / 'provenance.json').write_text('')
  code, out, _ = call()
  assert code == 1 and 'mended   provenance.json' in out
  assert call()[0] == 0
  damage(largest(copy / 'checkpoints' / '20'))
  (copy / 'checkpoints' / '15').rename(copy / 'elsewhere')
  damage(largest(copy / 'checkpoints' / '10'))
  code, out, error = call()
  assert code == 2 and 'damaged  checkpoints/20' in out
  assert error.endswith('has damaged files that could not be mended\n')


def test_a_run_in_which_another_process_trains_is_refused(copy):
  with (
    run_lock.acquire(copy),
    pytest.raises(UserError, match='is in use by process'),
  ):
    check.check_run(copy)
