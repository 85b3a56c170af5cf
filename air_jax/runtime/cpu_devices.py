"""The cores of a CPU as devices, for the members of a population."""

import os

import jax


def become_devices(size):
  """Makes JAX see several devices in the cores of this machine, for members to learn side by side.

  On one device all cores share each operation of all members, which takes a fifth longer. As many
  devices as there are cores will do, or more where the members are then spread evenly; whoever has
  asked for a number (JAX_NUM_CPU_DEVICES, XLA_FLAGS) is obeyed. To be called before JAX computes
  anything; makes no difference to accelerators.

  Args:
    size: N, members of the population.
  """
  asked = 'xla_force_host_platform_device_count' in os.environ.get('XLA_FLAGS', '')
  if not asked and jax.config.jax_num_cpu_devices < 1:
    jax.config.update('jax_num_cpu_devices', devices_for(size, _cores()))


def devices_for(size, cores):
  """How many devices so many cores make for a population, a divisor of its size.

  Args:
    size: N >= 1, members of the population.
    cores: of this machine.

  Returns:
    int; 1 for a run by itself.
  """
  # Every device has the data: a few more than there are cores, but not one for each of hundreds.
  even = [devices for devices in range(1, 4 * cores + 1) if size % devices == 0]
  return next((devices for devices in even if devices >= cores), even[-1])


def _cores():
  """How many this process may use."""
  known = hasattr(os, 'sched_getaffinity')  # not on macOS
  return len(os.sched_getaffinity(0)) if known else os.cpu_count()
