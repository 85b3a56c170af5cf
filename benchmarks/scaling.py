"""Whether several devices compute what one computes, and how much they tell each other.

    python -m benchmarks.scaling [--devices=2,4,8]

Each number of devices is a process of its own, of as many virtual CPU devices, which share the
batches of one run. Training is chaotic: what differs in the last digit differs in the first one
some tens of steps later. Beside the distance from one device stands therefore that of one device
from itself with every initial parameter changed by a ten-millionth. Prints one table.
"""

import os
import re
import subprocess
import sys
import tempfile

import numpy as np
from absl import app, flags

from air_jax.configs import multi_digits

_DEVICES = flags.DEFINE_list('devices', ['2', '4', '8'], 'Numbers of devices beside one.')
_CASE = flags.DEFINE_string('case', None, 'Of use to this program alone: what one process does.')
_AFTER = (1, 5, 50)  # steps
_CHANGE = 1e-7
_COLLECTIVES = r'all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter'
_BYTES = {'f32': 4, 's32': 4, 'u32': 4, 'u8': 1, 'pred': 1}


def main(argv):
  """Starts the processes, and prints what they found."""
  del argv
  if _CASE.value:
    _run(*_CASE.value.split(',', 1))
    return
  with tempfile.TemporaryDirectory() as folder:
    cases = [('1', _CHANGE), *((devices, 0.0) for devices in ['1', *_DEVICES.value])]
    found = [_start(*case, f'{folder}/{i}.npz') for i, case in enumerate(cases)]
  one = found[1]
  steps = ''.join(f'{f"after {step} steps":>16}' for step in _AFTER)
  print(f'{"":24}{steps}{"bytes exchanged a step":>26}')
  names = ['1, changed by 1e-7', '1', *_DEVICES.value]
  for name, each in zip(names, found, strict=True):
    distances = ''.join(
      f'{np.linalg.norm(a - b) / np.linalg.norm(b):16.1e}'
      for a, b in zip(each['params'], one['params'], strict=True)
    )
    print(f'{name:24}{distances}{int(each["exchanged"]):26,}')
  print(f'{one["params"][0].nbytes:,} bytes of parameters')


def _start(devices, change, path):
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
  }
  case = f'--case={change},{path}'
  command = [sys.executable, '-m', 'benchmarks.scaling', *sys.argv[1:], case]
  subprocess.run(command, env=environment, check=True)
  return np.load(path)


def _run(change, path):
  """One process: trains, and keeps the parameters and what devices exchange in a step."""
  import jax

  from air_jax.config import schema as config_lib
  from air_jax.data import loading
  from air_jax.training import population

  config = config_lib.parse(multi_digits.get_config())
  members = population.make(config)
  source = population.share(members, loading.batch_source(config.data, config.train.batch_size))
  states = population.init(members)
  noise, change = np.random.default_rng(0), float(change)
  changed = jax.tree.map(
    lambda x: (x * (1.0 + change * noise.standard_normal(x.shape))).astype(x.dtype), states.params
  )
  states = population.place(members, states._replace(params=changed))
  kept = []
  compiled = population.compiled(members, source, states, 1)
  for step in range(max(_AFTER)):
    states, _ = population.advance(members, source, states, step, 1)
    if step + 1 in _AFTER:
      leaves = jax.tree.leaves(states.params)
      kept.append(np.concatenate([np.asarray(leaf).ravel() for leaf in leaves]))
  np.savez(path, params=np.stack(kept), exchanged=_exchanged(compiled.as_text()))


def _exchanged(program):
  """Bytes that a device hands to collective operations in a program of XLA."""
  total = 0
  for shapes in re.findall(rf'= (.*?) (?:{_COLLECTIVES})(?:-start)?\(', program):
    for kind, sides in re.findall(r'(\w+)\[([\d,]*)\]', shapes):
      total += _BYTES[kind] * int(np.prod([int(side) for side in sides.split(',') if side]))
  return total


if __name__ == '__main__':
  app.run(main)
