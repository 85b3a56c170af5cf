"""A run's folder: whose it is, and where things lie in it.

config.json      the full configuration the run was started with
metrics.jsonl    one JSON object a line
tensorboard/     the same scalars, pictures, histograms, and the configuration
checkpoints/     orbax, one folder a step
figures/         PNGs of the last evaluation, and GIFs at the end
frames/          what the GIF of learning is made of
evaluation.json  the summary of the last evaluation

That of a population also holds

members/003/     metrics, events, figures and evaluation of member 3; checkpoints are of all at once
diverged.json    members that left the finite: when, and what first
"""

import json
import os
import pathlib

from air_jax.config import saved_configs
from air_jax.config import schema as config_lib
from air_jax.errors import UserError
from air_jax.runtime import distributed
from air_jax.storage.checkpoints import Checkpoints
from air_jax.training import population

_CONFIG = 'config.json'
_DIVERGED = 'diverged.json'


def claim(workdir, config):
  """Makes a folder the home of a run, or finds that it is so already.

  Args:
    workdir: path; made where there is none.
    config: ConfigDict of the run.

  Returns:
    the folder as a `pathlib.Path`.

  Raises:
    UserError: it cannot be written to, or belongs to a run of another configuration. More
      `train.steps` than before are no other configuration: they continue the run.
  """
  folder = pathlib.Path(os.path.expanduser(workdir))
  path = folder / _CONFIG
  try:
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
      if not distributed.first():
        raise UserError(f'--workdir={workdir} is not the same folder on every host; it must be')
      _check_new(folder)
      _replace(path, saved_configs.to_json(config))
    elif changed := saved_configs.changed_keys(load_config(folder), config):
      _check_continues(folder, config, changed)
      _replace(path, saved_configs.to_json(config))
  except OSError as error:
    raise UserError(f'--workdir={workdir} cannot be used: {error.strerror or error}') from error
  return folder


def load_config(workdir):
  """The ConfigDict of the run in a folder.

  Raises:
    UserError: there is no run.
  """
  path = pathlib.Path(os.path.expanduser(workdir)) / _CONFIG
  try:
    return saved_configs.from_json(path.read_text(), str(path))
  except (OSError, ValueError) as error:
    raise UserError(f'--workdir={workdir} holds no run: cannot read {path} ({error})') from error


def exists(workdir):
  """Whether a folder is that of a run."""
  return (pathlib.Path(os.path.expanduser(workdir)) / _CONFIG).exists()


def restore(workdir, index=None):
  """Brings back a run for use, at its newest sound checkpoint; of a population, one member.

  Args:
    workdir: path.
    index: of the member; None is the one with the highest bound when it was last evaluated.

  Returns:
    (`Learner`, `TrainState`, the folder of the run or of the member).

  Raises:
    UserError: there is no run, no such member, or no checkpoint that can be read.
  """
  members, states, folder = restore_all(workdir)
  size = len(members.learners)
  if index is None:
    index = _best(folder) if size > 1 else 0
  if not 0 <= index < size:
    raise UserError(
      f'--member={index} is not allowed; --workdir={workdir} has members 0..{size - 1}'
    )
  return members.learners[index], population.member(states, index), homes(folder, size)[index]


def restore_all(workdir):
  """Brings back a run with all its members; a run that is no population has one.

  Args:
    workdir: path.

  Returns:
    (`Population`, `TrainState` with a leading [N], the run's folder).

  Raises:
    UserError: there is no run, or no checkpoint that can be read.
  """
  config = config_lib.parse(load_config(workdir))
  folder = pathlib.Path(os.path.expanduser(workdir))
  if (folder / 'checkpoints').is_dir():
    members = population.make(config)
    with checkpoints(folder, config.train) as kept:
      if restored := kept.restore(population.init(members)):
        return members, restored[1], folder
  raise UserError(f'--workdir={workdir} holds no checkpoint yet; train first')


def checkpoints(folder, train):
  """The `Checkpoints` of a run in a folder; `train` is its `TrainConfig`."""
  best = train.keep_best
  return Checkpoints(folder / 'checkpoints', train.keep_checkpoints, train.keep_every, best)


def homes(folder, size):
  """The folders of so many members: made where there is none. A single run's is the folder."""
  if size == 1:
    return [folder]
  found = [folder / 'members' / f'{i:03}' for i in range(size)]
  for home in found:
    home.mkdir(parents=True, exist_ok=True)
  return found


def diverged(folder, step):
  """Members that had diverged by a step: a dict to when (`step`) and `what` was not finite."""
  try:
    known = json.loads((folder / _DIVERGED).read_text())
  except FileNotFoundError:
    return {}
  return {int(i): each for i, each in known.items() if each['step'] <= step}


def write_diverged(folder, known):
  """Keeps what `diverged` gives."""
  _replace(folder / _DIVERGED, json.dumps(known, indent=2) + '\n')


def _best(folder):
  try:
    return json.loads((folder / 'evaluation.json').read_text())['best']
  except FileNotFoundError:
    return 0


def _check_new(folder):
  if (folder / 'checkpoints').exists():
    raise UserError(f'--workdir={folder} holds checkpoints but no {_CONFIG}; choose another folder')


def _check_continues(folder, config, changed):
  old = config_lib.flatten(load_config(folder))
  new = config_lib.flatten(config)
  if changed == ['train.steps'] and new['train.steps'] > old['train.steps']:
    return
  differences = ', '.join(
    f'{key} ({old.get(key)!r} there, {new.get(key)!r} now)' for key in changed
  )
  raise UserError(
    f'--workdir={folder} belongs to a run of another configuration: {differences}; choose another '
    'folder, or change nothing but to raise train.steps'
  )


def _replace(path, text):
  """Writes a file all or nothing."""
  draft = path.with_suffix('.tmp')
  draft.write_text(text)
  os.replace(draft, path)
