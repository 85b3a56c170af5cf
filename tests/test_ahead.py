"""Programs compiled ahead: in a thread, once, and found by the call that needs them."""

import collections
import dataclasses
import os
import pathlib
import subprocess
import sys
import threading

import jax
import pytest
import samples

from air_jax.config import schema
from air_jax.data import loading
from air_jax.errors import UserError
from air_jax.runtime import ahead
from air_jax.training import loop, population

ROOT = pathlib.Path(__file__).parent.parent

# Each in a process of its own: a program that another test compiled would be found anyway.
TRAINING = """
import sys, threading
import jax.monitoring
import air_jax
from air_jax.configs import tiny

def heard(event, duration, fun_name='', **about):
  if event.endswith('backend_compile_duration'):
    print('compiled', fun_name, 'in', threading.current_thread().name)

jax.monitoring.register_event_duration_secs_listener(heard)
workdir, cache, population, steps = sys.argv[1:]
config = tiny.get_config()
config.data.cache_dir = cache
config.train.update(population=int(population), steps=int(steps))
air_jax.train(config, workdir, figures=False, progress=False)
"""


def compiled(folder, cache, members, steps, devices):
  """How often a run compiled each program, by name and thread."""
  done = subprocess.run(
    [sys.executable, '-c', TRAINING, str(folder), cache, str(members), str(steps)], cwd=ROOT,
    env=os.environ | {'JAX_NUM_CPU_DEVICES': str(devices)}, capture_output=True, text=True,
    timeout=300, check=False,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  said = [line.split() for line in done.stdout.splitlines() if line.startswith('compiled')]
  return collections.Counter((name, thread) for _, name, _, thread in said)


@pytest.mark.slow
@pytest.mark.parametrize('members, devices', [(1, 1), (1, 2), (2, 4)])
def test_a_run_finds_the_programs_that_were_compiled_ahead(scene_cache, tmp_path, members, devices):
  for steps, chunks in ((10, 1), (13, 1), (13, 0)):  # from the start, resumed, and finished
    found = compiled(tmp_path / 'run', scene_cache, members, steps, devices)
    assert found['jit(_advance)', 'compile'] == chunks, found
    assert found['jit(_advance)', 'MainThread'] == 0, found
    assert found['jit(_explain)', 'compile'] == chunks, found
    assert found['jit(_explain)', 'MainThread'] == 0, found


def test_what_was_started_is_done_when_waited_for_and_one_after_another():
  done, free = [], threading.Event()
  compiling = ahead.Ahead()
  compiling.start(lambda: free.wait(10) and done.append(1))
  assert not done
  free.set()
  compiling.start(lambda: done.append(2))
  compiling.wait()
  compiling.wait()
  assert done == [1, 2]


def test_what_goes_wrong_ahead_is_left_to_the_call():
  def broken():
    raise ValueError('no such program')

  compiling = ahead.Ahead()
  compiling.start(broken)
  compiling.wait()


@pytest.mark.parametrize('changes', [{}, {'colour': True}, {'source': 'sprites', 'noise': 0.1}])
def test_the_expected_source_is_the_one_that_comes(run_config, changes):
  run_config.data.update(changes)
  config = schema.parse(run_config).data
  comes, expected = loading.batch_source(config, 8), loading.expected_source(config, 8)
  forms = [[(x.shape, x.dtype) for x in source.arrays] for source in (comes, expected)]
  assert forms[0] == forms[1] and comes.gather is expected.gather
  assert (comes.sample_indices(3, 4, 2) == expected.sample_indices(3, 4, 2)).all()


@pytest.mark.parametrize(
  'changes', [{'source': 'folder'}, {'source': 'a:b'}, {'online': True}, {'reading': 'stream'}]
)
def test_other_sources_are_known_once_they_are_loaded(changes):
  config = dataclasses.replace(samples.data_config(), **changes)
  assert loading.expected_source(config, 8) is None


def test_nothing_is_compiled_of_what_does_not_fit_in_memory(run_config, tmp_path, monkeypatch):
  monkeypatch.setattr('air_jax.runtime.memory.of_devices', lambda: 1)
  monkeypatch.setattr(population, 'compile_ahead', lambda *_: pytest.fail('compiled'))
  with pytest.raises(UserError, match='needs'):
    loop.train(run_config, tmp_path)


def test_a_member_is_no_view_of_arrays_that_training_overwrites():
  states = {'x': jax.numpy.arange(6.0).reshape(2, 3)}
  own = population.member(states, 1)['x']
  kept = own.unsafe_buffer_pointer()
  start = states['x'].unsafe_buffer_pointer()
  assert not start <= kept < start + states['x'].nbytes
