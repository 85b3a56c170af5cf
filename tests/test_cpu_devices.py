"""CPU cores as devices; each number is tried in a process, since JAX takes it at its start."""

import os
import pathlib
import subprocess
import sys

import pytest

from air_jax.runtime import cpu_devices

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.parametrize(
  'size, cores, devices',
  [(1, 8, 1), (2, 2, 2), (8, 2, 2), (3, 2, 3), (7, 2, 7), (11, 2, 1), (8, 1, 1), (12, 8, 12)],
)
def test_devices_are_as_many_as_cores_or_more_to_spread_members_evenly(size, cores, devices):
  assert cpu_devices.devices_for(size, cores) == devices


@pytest.mark.parametrize(
  'asked, devices',
  [({}, 2), ({'XLA_FLAGS': '--xla_force_host_platform_device_count=3'}, 3),
   ({'JAX_NUM_CPU_DEVICES': '4'}, 4)],
)  # fmt: skip
def test_who_asks_for_a_number_of_devices_gets_it(asked, devices):
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM], cwd=ROOT, env=os.environ | asked, capture_output=True,
    text=True, timeout=100,
  )  # fmt: skip
  assert done.stdout == f'{devices}\n', done.stderr


PROGRAM = """
import jax
from air_jax.runtime import cpu_devices
cpu_devices._cores = lambda: 2
cpu_devices.set_cpu_device_count(4)
print(jax.device_count())
"""
