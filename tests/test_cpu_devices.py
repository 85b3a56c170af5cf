"""The cores of a CPU as devices."""

import pathlib
import subprocess
import sys

import pytest

from air_jax.runtime import cpu_devices

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.parametrize(
  'size, number, devices',
  [(1, 8, 1), (2, 2, 2), (8, 2, 2), (3, 2, 3), (7, 2, 7), (11, 2, 1), (8, 1, 1), (12, 8, 12)],
)
def test_cores_set_cpu_device_count_that_share_members_evenly(size, number, devices):
  assert cpu_devices.devices_for(size, number) == devices


@pytest.mark.parametrize(
  'asked, devices',
  [({}, 2), ({'XLA_FLAGS': '--xla_force_host_platform_device_count=3'}, 3),
   ({'JAX_NUM_CPU_DEVICES': '4'}, 4)],
)  # fmt: skip
def test_who_asks_for_a_number_of_devices_gets_it(asked, devices, compile_cache):
  done = subprocess.run(
    [sys.executable, '-c', CORES], cwd=ROOT, env=compile_cache | asked, capture_output=True,
    text=True, timeout=100,
  )  # fmt: skip
  assert done.stdout == f'{devices}\n', done.stderr


CORES = """
import jax
from air_jax import cores
cores._cores = lambda: 2
cores.set_cpu_device_count(4)
print(jax.device_count())
"""
