"""Whether several devices compute the same as one, and how many bytes they exchange.

    python -m benchmarks.scaling [--devices=2,4,8]

Each number of devices is tried in a process of its own with that many virtual CPU devices, which
share the batches of one run. Training is chaotic: a difference in the last digit reaches the first
digit some tens of steps later. So the table shows, beside the distance of several devices from one,
the distance of one device from itself when every initial parameter is changed by about 1e-7.
"""

import os
import re
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
from absl import app, flags

from air_jax.configs import multi_digits

_DEVICES = flags.DEFINE_list('devices', ['2', '4', '8'], 'Numbers of devices to compare with one.')
_CASE = flags.DEFINE_string('case', None, 'Internal: what one process does.')
_AFTER = (1, 5, 50)  # steps
_CHANGE = 1e-7
_COLLECTIVES = r'all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter'
_BYTES = {'f32': 4, 's32': 4, 'u32': 4, 'u8': 1, 'pred': 1}


def main(argv: list[str]) -> None:
  """Starts the processes, and prints their results."""
  del argv
  if _CASE.value:
    _run(*_CASE.value.split(',', 1))
    return
  with tempfile.TemporaryDirectory() as folder:
    cases = [('1', _CHANGE), *((devices, 0.0) for devices in ['1', *_DEVICES.value])]
    found = [_start(*case, f'{folder}/{i}.npz') for i, case in enumerate(cases)]
  one = found[1]
  steps = ''.join(f'{f"after {step} steps":>16}' for step in _AFTER)
  print(f'{"":24}{steps}{"bytes exchanged per step":>26}')
  names = ['1, changed by 1e-7', '1', *_DEVICES.value]
  for name, each in zip(names, found, strict=True):
    distances = ''.join(
      f'{np.linalg.norm(a - b) / np.linalg.norm(b):16.1e}'
      for a, b in zip(each['params'], one['params'], strict=True)
    )
    print(f'{name:24}{distances}{int(each["exchanged"]):26,}')
  print(f'{one["params"][0].nbytes:,} bytes of parameters')


def _start(devices: str, change: float, path: str) -> Any:
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
  }
  case = f'--case={change},{path}'
  command = [sys.executable, '-m', 'benchmarks.scaling', *sys.argv[1:], case]
  subprocess.run(command, env=environment, check=True)
  return np.load(path)


def _run(change: str, path: str) -> None:
  """Trains in one process, and keeps the parameters and the bytes exchanged in a step."""
  import jax

  from air_jax.config import schema
  from air_jax.training import population, train_step
  from benchmarks import trainings

  members, source, states = trainings.prepare(schema.parse(multi_digits.get_config()))
  noise, size = np.random.default_rng(0), float(change)
  changed = jax.tree.map(
    lambda x: (x * (1.0 + size * noise.standard_normal(x.shape))).astype(x.dtype), states.params
  )
  states = population.place(members, states._replace(params=changed))
  kept = []
  compiled = population.compiled(train_step.train_step, members, source, states, 1)
  for step in range(max(_AFTER)):
    states = trainings.advance(members, source, states, step, 1)
    if step + 1 in _AFTER:
      leaves = jax.tree.leaves(states.params)
      kept.append(np.concatenate([np.asarray(leaf).ravel() for leaf in leaves]))
  np.savez(path, params=np.stack(kept), exchanged=_exchanged(compiled.as_text() or ''))


def _exchanged(program: str) -> int:
  """Bytes that a device gives to collective operations in an XLA program."""
  total = 0
  for shapes in re.findall(rf'= (.*?) (?:{_COLLECTIVES})(?:-start)?\(', program):
    for kind, sides in re.findall(r'(\w+)\[([\d,]*)\]', shapes):
      total += _BYTES[kind] * int(np.prod([int(side) for side in sides.split(',') if side]))
  return total


if __name__ == '__main__':
  app.run(main)
