"""One writer for each run: who gets the lock, who is refused, when it is taken over."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import pathlib
import platform
import re
import subprocess
import sys
import threading
import time

import pytest

from air_jax.errors import UserError
from air_jax.storage import run_lock

ROOT = pathlib.Path(__file__).parent.parent

# A process of its own, since only such a one can be killed. It imports no JAX, and starts quickly.
PROGRAM = """
import pathlib, sys, time
from air_jax.errors import UserError
from air_jax.storage import run_lock
sys.stdin.readline()
try:
  with run_lock.acquire(pathlib.Path(sys.argv[1])):
    print('held', flush=True)
    sys.stdin.readline()
except UserError as error:
  print(error, flush=True)
assert 'jax' not in sys.modules
"""


@pytest.fixture
def start(tmp_path):
  """Starts processes that take the lock at the first line they are given, and release it at the
  second one."""
  with contextlib.ExitStack() as stack:

    def starting():
      process = subprocess.Popen(
        [sys.executable, '-c', PROGRAM, tmp_path],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
      )  # fmt: skip
      stack.callback(process.communicate)
      stack.callback(process.kill)
      return process

    yield starting


def tell(process):
  process.stdin.write('go on\n')
  process.stdin.flush()


def says(process):
  return process.stdout.readline()


def test_a_second_process_is_refused_and_a_killed_one_is_replaced(start, tmp_path):
  first, second, third = start(), start(), start()
  tell(first)
  assert says(first) == 'held\n'
  tell(second)
  line = says(second)
  assert f'{tmp_path} is in use by process {first.pid} on {platform.node()}, since 20' in line
  assert line.endswith('; wait until it ends, or choose another folder\n')
  first.kill()
  os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie
  tell(third)
  assert says(third) == 'held\n'
  tell(third)
  assert third.wait(20) == 0 and not list(tmp_path.iterdir())


def test_of_processes_that_find_a_stale_lock_one_takes_it_over(start, tmp_path):
  leave(tmp_path, pid=2**22 + 1)
  processes = [start() for _ in range(4)]
  for process in processes:
    tell(process)
  said = [says(process) for process in processes]
  assert said.count('held\n') == 1
  owner = processes[said.index('held\n')].pid
  assert sum(f'in use by process {owner} on' in line for line in said) == 3


@pytest.mark.parametrize('stale', [False, True])
@pytest.mark.parametrize('links', [True, False])
def test_of_many_threads_exactly_one_gets_it(tmp_path, monkeypatch, stale, links):
  if not links:
    monkeypatch.setattr(os, 'link', no_links)
  for number in range(10):
    folder = tmp_path / str(number)
    folder.mkdir()
    if stale:
      leave(folder, pid=2**22 + 1)
    together, ended, won = threading.Barrier(12), threading.Barrier(12), []

    def compete(folder=folder, together=together, ended=ended, won=won):
      together.wait(20)
      with contextlib.ExitStack() as stack:
        try:
          stack.enter_context(run_lock.acquire(folder))
          won.append(True)
        except UserError as error:
          won.append(f'in use by process {os.getpid()} on' not in str(error))
        ended.wait(20)  # whoever has it keeps it until all have tried

    threads = [threading.Thread(target=compete) for _ in range(12)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    assert sorted(won) == [False] * 11 + [True]
    assert not list(folder.iterdir())


def no_links(*paths):
  raise OSError(errno.EPERM, 'no hard links here')


def leave(folder, age=0.0, **changes):
  """Leaves a lock as another process would."""
  (folder / 'run.lock').write_text(json.dumps(run_lock._myself() | {'token': 'x'} | changes))
  touched = time.time() - age
  os.utime(folder / 'run.lock', (touched, touched))


ELSEWHERE = {'host': 'elsewhere', 'machine': 'of elsewhere'}
RESTARTED = {'machine': 'another start or container'}


@pytest.mark.parametrize(
  'age, changes',
  [
    (0, {'pid': 2**22 + 1}),
    (0, {'started': '17'}),
    (31, RESTARTED),
    (121, ELSEWHERE),
    (121, {'pid': 'spoilt'}),  # its process may live
  ],
)
def test_a_stale_lock_is_taken_over_with_a_warning(tmp_path, caplog, age, changes):
  leave(tmp_path, age, **changes)
  with caplog.at_level(logging.WARNING), run_lock.acquire(tmp_path):
    assert json.loads((tmp_path / 'run.lock').read_text())['pid'] == os.getpid()
    with pytest.raises(UserError), run_lock.acquire(tmp_path):
      pass
  assert 'taking over from' in caplog.text
  assert not list(tmp_path.iterdir())


@pytest.fixture
def clock(monkeypatch):
  """Makes waiting instant: files grow older instead. Returns the seconds waited, and a hook."""
  waited, hook = [], []

  def sleep(seconds):
    waited.append(seconds)
    for path in pathlib.Path(sleep.folder).glob('run.lock'):
      touched = path.stat().st_mtime - seconds
      os.utime(path, (touched, touched))
    for call in hook:
      call(sum(waited))

  monkeypatch.setattr(run_lock.time, 'sleep', sleep)
  sleep.waited, sleep.hook = waited, hook
  return sleep


@pytest.mark.parametrize(
  'age, changes, remaining',
  [(1, RESTARTED, 29), (31, ELSEWHERE, 89), (110, ELSEWHERE, 10), (20, {'started': ''}, 10)],
)
def test_who_may_be_alive_is_waited_for_and_then_replaced(
  tmp_path, clock, caplog, age, changes, remaining
):
  clock.folder = tmp_path
  leave(tmp_path, age, **changes)
  with caplog.at_level(logging.WARNING), run_lock.acquire(tmp_path):
    assert json.loads((tmp_path / 'run.lock').read_text())['token'] != 'x'
  assert sum(clock.waited) == pytest.approx(remaining, abs=1)
  first, second = (record.getMessage() for record in caplog.records)
  assert re.search(rf'names process \d+ on .*: waiting {remaining} s for a sign of life', first)
  assert 'taking over' in second


@pytest.mark.parametrize('age, changes', [(0, RESTARTED), (60, ELSEWHERE)])
def test_who_gives_a_sign_of_life_is_not_replaced(tmp_path, clock, age, changes):
  clock.folder = tmp_path
  leave(tmp_path, age, since='then', pid=7, **changes)
  before = (tmp_path / 'run.lock').read_text()
  clock.hook.append(lambda waited: waited == 10 and os.utime(tmp_path / 'run.lock'))
  host = changes.get('host', platform.node())
  with pytest.raises(UserError, match=f'process 7 on {host}, since then; wait until it ends, or '):
    with run_lock.acquire(tmp_path):
      pass
  assert sum(clock.waited) == 10
  assert [path.name for path in tmp_path.iterdir()] == ['run.lock']
  assert (tmp_path / 'run.lock').read_text() == before


@pytest.mark.parametrize('content', [b'', b'{"host": "a', b'\xff\xfe\x00', b'[1]', b'{"pid": 1}'])
def test_a_lock_that_names_nobody_is_waited_for_too(tmp_path, clock, content):
  clock.folder = tmp_path
  path = tmp_path / 'run.lock'
  path.write_bytes(content)
  clock.hook.append(lambda waited: waited == 3 and os.utime(path))
  with pytest.raises(UserError, match='in use by an unknown process'), run_lock.acquire(tmp_path):
    pass
  clock.hook.clear()
  with run_lock.acquire(tmp_path):
    assert json.loads(path.read_text())['pid'] == os.getpid()
  assert sum(clock.waited) == pytest.approx(123, abs=1)


def test_who_waits_gets_a_lock_that_is_released(tmp_path, clock):
  clock.folder = tmp_path
  leave(tmp_path, **ELSEWHERE)
  clock.hook.append(lambda waited: waited == 5 and (tmp_path / 'run.lock').unlink())
  with run_lock.acquire(tmp_path):
    assert sum(clock.waited) == 5


def test_what_is_neither_there_nor_can_be_made_is_refused(tmp_path):
  (tmp_path / 'run.lock').symlink_to('nowhere')
  with pytest.raises(UserError, match='cannot be made or taken over'), run_lock.acquire(tmp_path):
    pass
  assert [path.name for path in tmp_path.iterdir()] == ['run.lock']


def test_when_a_process_started_tells_it_from_a_later_one_of_its_number():
  assert int(run_lock._started(os.getpid())) >= int(run_lock._started(1)) >= 0
  assert run_lock._started(os.getpid()) == run_lock._started(os.getpid())
  for gone in (2**22 + 1, 2**80, -1, 0, None, 'x'):
    assert run_lock._started(gone) is None


def test_a_link_whose_answer_was_lost_is_a_lock(tmp_path, monkeypatch):
  """NFS repeats a request whose answer was lost, and then finds its own file."""
  link = os.link

  def lose_answer(*paths):
    link(*paths)
    raise FileExistsError

  monkeypatch.setattr(os, 'link', lose_answer)
  with run_lock.acquire(tmp_path):
    monkeypatch.setattr(os, 'link', link)
    with pytest.raises(UserError, match='in use'), run_lock.acquire(tmp_path):
      pass


def test_one_process_at_a_time_examines_a_lock(tmp_path, monkeypatch):
  """Otherwise a third could slip in while one removes a lock that the second has just replaced."""
  remove, guarded = run_lock._remove_stale, []

  def examine(*args):
    number = os.open(tmp_path, os.O_RDONLY)
    try:
      fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      guarded.append(True)
    finally:
      os.close(number)
    remove(*args)

  monkeypatch.setattr(run_lock, '_remove_stale', examine)
  leave(tmp_path, pid=2**22 + 1)
  with run_lock.acquire(tmp_path):
    assert guarded == [True]


def test_folders_that_cannot_be_locked_do_without(tmp_path, monkeypatch):
  monkeypatch.setattr(run_lock.fcntl, 'flock', no_links)
  leave(tmp_path, pid=2**22 + 1)
  with run_lock.acquire(tmp_path):
    with pytest.raises(UserError, match='in use'), run_lock.acquire(tmp_path):
      pass


def test_a_lock_that_was_replaced_meanwhile_is_put_back(tmp_path):
  leave(tmp_path, host='new')
  run_lock._remove_stale(tmp_path / 'run.lock', {'host': 'old', 'pid': 1}, tmp_path / 'aside')
  assert [path.name for path in tmp_path.iterdir()] == ['run.lock']
  assert json.loads((tmp_path / 'run.lock').read_text())['host'] == 'new'


def test_the_owner_gives_signs_of_life_and_notices_when_it_is_replaced(
  tmp_path, monkeypatch, caplog
):
  monkeypatch.setattr(run_lock, '_TOUCH_S', 0.01)
  path = tmp_path / 'run.lock'
  with run_lock.acquire(tmp_path):
    os.utime(path, (0, 0))
    wait_until(lambda: path.stat().st_mtime > 0)
    leave(tmp_path, pid=7, **ELSEWHERE)
    wait_until(lambda: 'taken over by process 7 on elsewhere' in caplog.text)
  assert json.loads(path.read_text())['pid'] == 7


def wait_until(true):
  until = time.monotonic() + 20
  while not true():
    assert time.monotonic() < until
    time.sleep(0.005)


def test_a_folder_that_is_gone_at_the_end_is_no_error(tmp_path):
  (tmp_path / 'run').mkdir()
  with run_lock.acquire(tmp_path / 'run'):
    (tmp_path / 'run' / 'run.lock').unlink()
    (tmp_path / 'run').rmdir()
