"""What happens to runs of days: processes come and go, disks fill up, machines die.

The claims are about processes, so there are many here; what they are compared with is trained in
this one. They draw no figures, have a small model, and share what is compiled. Where the claim is
about processes that lose each other, they only meet.
"""

import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import run_folder

from air_jax.runtime import compilation_cache, files
from air_jax.storage import provenance
from air_jax.storage.metric_writers import JsonlWriter
from air_jax.training import loop, population, restore

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What takes less time to compile.
SMALL = {'model.max_steps': 2, 'model.patch_rounds': 0, 'objective.name': 'exact'}

pytestmark = pytest.mark.slow


def free_port():
  with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    return listener.getsockname()[1]


def link(source, target):
  try:
    os.link(source, target)
  except OSError:  # it is on another disk
    shutil.copy2(source, target)


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
  """Compiled programs go to a folder apart, since a killed process may leave half of one; what is
  known is there, and what is new and whole is known from then on."""
  known = pathlib.Path(os.environ['JAX_COMPILATION_CACHE_DIR'])
  known.mkdir(parents=True, exist_ok=True)
  folder = tmp_path_factory.mktemp('spoilt')
  shutil.copytree(known, folder, copy_function=link, dirs_exist_ok=True)
  yield os.environ | {'JAX_COMPILATION_CACHE_DIR': str(folder)}
  for path in folder.glob('*-cache'):
    content = path.read_bytes()
    if not (known / path.name).exists() and compilation_cache._whole(content):
      files.write_atomic(known / path.name, content)


# The program, but for the figures.
PROGRAM = """
import functools
from air_jax import api
from air_jax.cli import main
api.train = functools.partial(api.train, figures=False)
main.main()
"""


@pytest.fixture
def run(environment):
  """Starts a command on one CPU device; what still runs at the end is killed."""
  started = []

  def running(*command):
    one = {'JAX_NUM_CPU_DEVICES': '1', 'PYTHONPATH': str(ROOT)}
    process = subprocess.Popen(
      command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment | one
    )
    started.append(process)
    return process

  yield running
  for process in started:
    process.kill()
    process.communicate()


@pytest.fixture
def start(run, tmp_path, scene_cache):
  """Starts the program on tiny.py in a run's folder."""

  def starting(*more, folder='run', before=()):
    small = (f'--config.{key}={value}' for key, value in SMALL.items())
    return run(
      *before, sys.executable, '-c', PROGRAM, f'--config={ROOT}/configs/tiny.py', *small,
      f'--workdir={tmp_path / folder}', f'--config.data.cache_dir={scene_cache}', *more,
    )  # fmt: skip

  return starting


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


def wait_until(true, process):
  """Waits until something is true of what a running process does."""
  until = time.monotonic() + 100
  while not true():
    assert process.poll() is None and time.monotonic() < until, process.communicate()
    time.sleep(0.02)


def wait_for_step(folder, step, process):
  """Waits until the checkpoint of a step, or of a later one, is there."""
  checkpoints = folder / 'checkpoints'
  wait_until(
    lambda: checkpoints.exists() and max(run_folder.checkpoints_of(folder), default=0) >= step,
    process,
  )


@pytest.fixture
def small(run_config):
  """The configuration of that program."""
  run_config.update_from_flattened_dict(SMALL)
  return run_config


def train(config, folder):
  """Trains as the program does, in this process."""
  loop.train(config, folder, callbacks=[JsonlWriter(folder)])


def assert_close_end(folder, other):
  """Checks that both ended in the same state, but for the order of sums.

  So few steps do not amplify that. They are made in fives, as everywhere: other numbers would be
  other programs.
  """
  members, a, _ = restore.restore(folder)
  first = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(a.params)])
  b = restore.restore(other)[1]
  second = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(b.params)])
  begun = population.init(members).params
  start = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(begun)])
  assert np.linalg.norm(first - second) < 1e-3 * np.linalg.norm(second - start)


def assert_logs(folder, steps):
  assert [line['step'] for line in run_folder.lines_of(folder, 'train')] == steps
  assert run_folder.checkpoints_of(folder) == steps


def test_two_processes_train_as_one_does_and_one_goes_on(start_two, small, tmp_path):
  both = end(*start_two('--config.train.steps=5'))
  assert [status for status, _, _ in both] == [0, 0], both
  assert 'step       5: held-out count accuracy' in both[0][1]
  assert all('[Gloo]' in line for line in both[1][1].splitlines())
  assert_logs(tmp_path / 'run', [5])
  for small.train.steps in (5, 10):  # the rate follows a schedule of all the steps
    train(small, tmp_path / 'alone')
  train(small, tmp_path / 'run')
  assert_logs(tmp_path / 'run', [5, 10])
  assert_close_end(tmp_path / 'run', tmp_path / 'alone')


@pytest.mark.parametrize(
  'changes',
  [{'train.population': 2, 'data.online': True}, {'data.reading': 'stream'}],
  ids=['population online', 'stream'],
)
def test_two_processes_go_on_where_one_ended_by_every_batch_source(
  start_two, small, changes, tmp_path
):
  small.update_from_flattened_dict(changes | {'train.steps': 5})
  train(small, tmp_path / 'run')
  shutil.copytree(tmp_path / 'run', tmp_path / 'alone')
  two = start_two(*(f'--config.{key}={value}' for key, value in changes.items()),
                  '--config.train.steps=10')  # fmt: skip
  small.train.steps = 10
  train(small, tmp_path / 'alone')
  ended = end(*two)
  assert [status for status, _, _ in ended] == [0, 0], ended
  assert_logs(tmp_path / 'run', [5, 10])
  assert_close_end(tmp_path / 'run', tmp_path / 'alone')


def test_a_signal_to_one_process_stops_all_of_them_with_a_checkpoint(start_two, tmp_path):
  two = start_two('--config.train.steps=100000')
  wait_for_step(tmp_path / 'run', 5, two[0])
  two[1].send_signal(signal.SIGTERM)
  ended = end(*two)
  for status, _, errors in ended:
    assert status == 128 + signal.SIGTERM, ended
    stopped = re.search(r'interrupted at step (\d+); the same command goes on', errors)
    assert int(stopped[1]) == run_folder.checkpoints_of(tmp_path / 'run')[-1]


MEETING = """
import pathlib, sys
from air_jax.cli import command_line
from air_jax.runtime import distributed
address, number, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])

@command_line.one_line_errors
def meet():
  with distributed.initialize(address, 2, number):
    while True:
      assert distributed.max_over_processes(number) == 1
      (folder / f'met{number}').touch()

meet()
"""


@pytest.mark.parametrize('lost', [0, 1])
def test_who_loses_the_other_process_ends_at_once_and_says_so(run, lost, tmp_path):
  address = f'127.0.0.1:{free_port()}'
  two = [run(sys.executable, '-c', MEETING, address, str(i), tmp_path) for i in range(2)]
  for i, process in enumerate(two):
    wait_until((tmp_path / f'met{i}').exists, process)
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


def test_processes_that_cannot_meet_say_why(start):
  status, _, errors = end(start('--distributed'))[0]
  assert status == 2 and 'no other processes were found by the environment' in errors
  assert 'Traceback' not in errors


def test_a_disk_that_fills_up_costs_no_checkpoint(start, small, tmp_path):
  small.train.steps = 10
  train(small, tmp_path / 'run')
  status, _, errors = end(start(before=('bash', '-c', 'ulimit -f 20; exec "$@"', 'limited')))[0]
  assert status == 2 and 'cannot write the checkpoint of step 15' in errors, errors
  assert run_folder.checkpoints_of(tmp_path / 'run') == [5, 10]
  small.train.steps = 20
  train(small, tmp_path / 'run')
  assert run_folder.checkpoints_of(tmp_path / 'run') == [10, 15, 20]


def test_killed_or_met_by_another_a_run_ends_the_same(start, small, tmp_path):
  """Two of the moments of which benchmarks/soak.py tries many."""
  train(small, tmp_path / 'whole')
  folder = tmp_path / 'run'
  killed = start()
  wait_until((folder / 'config.json').exists, killed)
  killed.kill()
  killed = start()
  wait_for_step(folder, 5, killed)
  killed.kill()
  killed.wait()

  running = start()  # takes over the lock that the other left
  wait_until(lambda: owner(folder) == running.pid, running)
  running.send_signal(signal.SIGSTOP)  # so that it cannot end too early
  status, _, errors = end(start())[0]
  running.send_signal(signal.SIGCONT)
  assert status == 2
  (line,) = [line for line in errors.splitlines() if 'preparing the data' not in line]
  assert f'{folder} is in use by process {running.pid} on {platform.node()}, since 20' in line

  status, _, errors = end(running)[0]
  assert status == 0, errors
  assert not (folder / 'run.lock').exists()
  assert run_folder.lines_of(folder) == run_folder.lines_of(tmp_path / 'whole')
  run_folder.assert_same_end(folder, tmp_path / 'whole')
  assert [each['pid'] for each in provenance.read(folder)][-1] == running.pid


def owner(folder):
  """The process that holds a run's lock."""
  with contextlib.suppress(OSError, ValueError):
    return json.loads((folder / 'run.lock').read_text())['pid']
