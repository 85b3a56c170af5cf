"""A run's folder: whose it is, and where things lie in it.

config.json      the full configuration the run was started with
metrics.jsonl    one JSON object a line
tensorboard/     the same scalars, and the pictures
checkpoints/     orbax, one folder a step
figures/         PNGs of the last evaluation
evaluation.json  the summary of the last evaluation
"""

import os
import pathlib

from air_jax import config as config_lib
from air_jax import learner
from air_jax.checkpoints import Checkpoints
from air_jax.errors import UserError

_CONFIG = 'config.json'


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
      _check_new(folder)
      _replace(path, config_lib.to_json(config))
    elif changed := config_lib.changed_keys(load_config(folder), config):
      _check_continues(folder, config, changed)
      _replace(path, config_lib.to_json(config))
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
    return config_lib.from_json(path.read_text())
  except (OSError, ValueError) as error:
    raise UserError(f'--workdir={workdir} holds no run: cannot read {path} ({error})') from error


def exists(workdir):
  """Whether a folder is that of a run."""
  return (pathlib.Path(os.path.expanduser(workdir)) / _CONFIG).exists()


def restore(workdir):
  """Brings back a run for use, at its newest sound checkpoint.

  Args:
    workdir: path.

  Returns:
    (`Learner`, `TrainState`, its folder).

  Raises:
    UserError: there is no run, or no checkpoint that can be read.
  """
  config = config_lib.parse(load_config(workdir))
  learning = learner.make(config)
  folder = pathlib.Path(os.path.expanduser(workdir))
  if (folder / 'checkpoints').is_dir():
    with Checkpoints(folder / 'checkpoints', config.train.keep_checkpoints) as checkpoints:
      if restored := checkpoints.restore(learner.init(learning)):
        return learning, restored[1], folder
  raise UserError(f'--workdir={workdir} holds no checkpoint yet; train first')


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
