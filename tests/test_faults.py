"""What may happen to a run of days: processes come and go, disks fill up, machines die."""

import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import run_folder

from air_jax.storage import run_dir
from air_jax.training import loop, population

ROOT = pathlib.Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.usefixtures('compile_quickly')


def free_port():
  with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    return listener.getsockname()[1]


@pytest.fixture(scope='module')
def environment(compile_cache, tmp_path_factory):
  """Compiles quickly too, and into a folder apart from that of other tests: the killed spoil it."""
  folder = tmp_path_factory.mktemp('spoilt')
  quickly = {'JAX_DISABLE_MOST_OPTIMIZATIONS': 'true', 'JAX_COMPILATION_CACHE_DIR': str(folder)}
  return compile_cache | quickly


@pytest.fixture
def start(tmp_path, scene_cache, environment):
  """Starts the program on tiny.py in a run's folder; what still runs at the end is killed."""
  started = []

  def starting(*more, folder='run', devices=1, before=()):
    command = [
      *before, sys.executable, ROOT / 'main.py', f'--config={ROOT}/configs/tiny.py',
      f'--workdir={tmp_path / folder}', f'--config.data.cache_dir={scene_cache}', *more,
    ]  # fmt: skip
    process = subprocess.Popen(
      command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
      env=environment | {'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}'},
    )  # fmt: skip
    started.append(process)
    return process

  yield starting
  for process in started:
    process.kill()
    process.communicate()


@pytest.fixture
def start_two(start):
  """Starts two processes that are one program."""

  def starting(*more, **options):
    address = f'--coordinator=127.0.0.1:{free_port()}'
    return [start(address, '--processes=2', f'--process={i}', *more, **options) for i in range(2)]

  return starting


def end(*processes):
  """Their (exit status, stdout, stderr)."""
  ended = [process.communicate(timeout=120) for process in processes]
  return [(process.returncode, *texts) for process, texts in zip(processes, ended, strict=True)]


def wait_for(folder, process):
  """Waits until a folder is there."""
  until = time.monotonic() + 100
  while not folder.exists():
    assert process.poll() is None and time.monotonic() < until, process.communicate()
    time.sleep(0.02)


def assert_close_end(folder, other):
  """Both ended in the same state, but for the order of sums, which few steps do not amplify."""
  members, a, _ = run_dir.restore_all(folder)
  first = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(a.params)])
  b = run_dir.restore_all(other)[1]
  second = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(b.params)])
  begun = population.init(members).params
  start = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(begun)])
  assert np.linalg.norm(first - second) < 1e-3 * np.linalg.norm(second - start)


def test_two_processes_train_as_one_does_and_go_on_as_one_and_back(
  start, start_two, run_config, no_pictures, tmp_path
):
  both = end(*start_two('--config.train.steps=2'))
  assert [status for status, _, _ in both] == [0, 0], both
  assert 'step       2: held-out count accuracy' in both[0][1]
  assert all('[Gloo]' in line for line in both[1][1].splitlines())
  assert_logs(tmp_path / 'run', [2])
  assert end(start('--config.train.steps=4', devices=2))[0][0] == 0
  both = end(*start_two('--config.train.steps=6'))
  assert [status for status, _, _ in both] == [0, 0], both
  assert_logs(tmp_path / 'run', [2, 4, 5, 6])
  for run_config.train.steps in (2, 4, 6):  # the rate follows a schedule of all the steps
    loop.train(run_config, tmp_path / 'alone')
  assert_close_end(tmp_path / 'run', tmp_path / 'alone')


def assert_logs(folder, steps):
  assert [line['step'] for line in run_folder.lines_of(folder, 'train')] == steps
  assert run_folder.checkpoints_of(folder) == steps[-3:]


@pytest.mark.parametrize(
  'more',
  [
    ('--config.train.population=2', '--config.data.online=True'),
    ('--config.data.reading=stream',),
  ],
  ids=['population online', 'stream'],
)
def test_processes_share_members_and_every_kind_of_feed(start, start_two, more, tmp_path):
  more = *more, '--config.train.steps=5'
  ended = end(*start_two(*more), start(*more, folder='alone'))
  assert [status for status, _, _ in ended] == [0, 0, 0], ended
  assert_close_end(tmp_path / 'run', tmp_path / 'alone')


def test_a_signal_to_one_process_stops_all_of_them_with_a_checkpoint(start_two, tmp_path):
  two = start_two('--config.train.steps=100000')
  wait_for(tmp_path / 'run' / 'checkpoints' / '5', two[0])
  two[1].send_signal(signal.SIGTERM)
  ended = end(*two)
  for status, _, errors in ended:
    assert status == 128 + signal.SIGTERM, ended
    stopped = re.search(r'interrupted at step (\d+); the same command goes on', errors)
    assert int(stopped[1]) == run_folder.checkpoints_of(tmp_path / 'run')[-1]


@pytest.mark.parametrize('lost', [0, 1])
def test_who_loses_the_other_process_ends_at_once_and_says_so(start_two, lost, tmp_path):
  two = start_two('--config.train.steps=100000')
  wait_for(tmp_path / 'run' / 'checkpoints' / '5', two[0])
  two[lost].kill()
  status, _, errors = end(two[1 - lost])[0]
  if lost == 1:
    assert status == 2 and 'process 0 of 2 has lost another one' in errors, errors
    assert 'Traceback' not in errors
  else:  # JAX itself may be first to see that its coordinator is gone
    assert status and 'lost another one' in errors or 'another task died' in errors, errors


def test_a_process_that_fails_by_itself_does_not_leave_the_others_waiting(start, tmp_path):
  address = f'--coordinator=127.0.0.1:{free_port()}'
  (tmp_path / 'blocked').write_text('no folder')
  two = [start(address, '--processes=2', f'--process={i}', folder='blocked') for i in range(2)]
  (first, _, says), (second, _, errors) = end(*two)
  assert first == 2 and 'cannot be used' in says
  assert second and 'lost another one' in errors or 'another task died' in errors, errors


@pytest.mark.parametrize(
  'flags, says',
  [
    (['--processes=2'], '--processes and --process go with --coordinator=HOST:PORT'),
    (['--coordinator=x:1', '--processes=2', '--process=2'], 'I in 0..N - 1; given were 2 and 2'),
    (['--distributed'], 'no other processes were found by the environment'),
  ],
)
def test_processes_that_cannot_meet_say_why(start, flags, says):
  status, _, errors = end(start(*flags))[0]
  assert status == 2 and says in errors and 'Traceback' not in errors


def test_a_disk_that_fills_up_costs_no_checkpoint(start, tmp_path):
  assert end(start('--config.train.steps=10'))[0][0] == 0
  kept = run_folder.checkpoints_of(tmp_path / 'run')
  status, _, errors = end(start(before=('bash', '-c', 'ulimit -f 20; exec "$@"', 'limited')))[0]
  assert status == 2 and 'cannot write' in errors, errors
  assert run_folder.checkpoints_of(tmp_path / 'run') == kept == [5, 10]
  assert end(start())[0][0] == 0
  assert run_folder.checkpoints_of(tmp_path / 'run') == [10, 15, 20]


def test_killed_at_any_moment_a_run_ends_the_same(start, tmp_path):
  """A few of the moments that benchmarks/soak.py tries many of."""
  assert end(start(folder='whole'))[0][0] == 0
  for moment in (0.0, 0.05, 0.15):
    running = start()
    wait_for(tmp_path / 'run' / 'config.json', running)
    time.sleep(moment)
    running.kill()
    running.communicate()
  assert end(start())[0][0] == 0
  run_folder.assert_same_end(tmp_path / 'run', tmp_path / 'whole')
