"""CPU cores as JAX devices, so that members of a population train side by side."""

import os
from typing import Any

import jax


def set_cpu_device_count(members: int) -> None:
  """Makes JAX see several devices in the cores of this machine.

  On one device all cores share each operation of all members, which takes a fifth longer. There is
  a device for each core, or more where that spreads the members evenly. A number that the user
  chose (JAX_NUM_CPU_DEVICES, XLA_FLAGS) is kept. Call it before JAX computes anything; it makes no
  difference to accelerators.
  """
  asked = 'xla_force_host_platform_device_count' in os.environ.get('XLA_FLAGS', '')
  settings: Any = jax.config  # whose options mypy does not see
  if not asked and settings.jax_num_cpu_devices < 1:
    jax.config.update('jax_num_cpu_devices', devices_for(members, _cores()))


def devices_for(members: int, cores: int) -> int:
  """The number of devices for a population, a divisor of its size; 1 for a run by itself."""
  # Every device has the data: a few more than there are cores, but not one for each of hundreds.
  even = [devices for devices in range(1, 4 * cores + 1) if members % devices == 0]
  return next((devices for devices in even if devices >= cores), even[-1])


def _cores() -> int:
  """The number of cores that this process may use."""
  known = hasattr(os, 'sched_getaffinity')  # not on macOS
  return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
