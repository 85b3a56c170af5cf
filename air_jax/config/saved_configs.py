"""A configuration as JSON, kept with its run, and how those of earlier versions are read."""

import json
from typing import Any

from ml_collections import ConfigDict

from air_jax._version import __version__
from air_jax.config.flat import flatten, freeze
from air_jax.config.schema import KEYS, SECTIONS
from air_jax.errors import UserError

# Keys that an earlier version did not have, with the value that means what it did. Whoever adds a
# key to configs/default.py adds it here: a run that was saved without it can then still be used.
ADDED: dict[str, Any] = {
  'data.counts': (),  # since 0.2.0
  'data.palette': 'bright',  # since 0.2.0
  'data.channel': '',  # since 0.2.0
  'data.levels': (),  # since 0.2.0
  'data.stretch': False,  # since 0.2.0
  'data.invert': False,  # since 0.2.0
  'data.gamma': 1.0,  # since 0.2.0
  'data.object_pixels': 0.0,  # since 0.2.0
  'objective.final_smoothing': 0.0,  # since 0.2.0
  'model.cell': 'lstm',  # since 0.2.0
  'model.looks': 2,  # since 0.2.0
  'model.sweeps': 0,  # since 0.2.0
  'model.compositing': 'add',  # since 0.2.0
  'model.background_degree': 0,  # since 0.2.0
  'model.likelihood': 'gaussian',  # since 0.2.0
  'model.learn_likelihood_std': False,  # since 0.2.0
  'model.networks': '',  # since 0.2.0
  'train.stop_when': 0,  # since 0.2.0
}


def to_json(config: ConfigDict) -> str:
  """A configuration as text, to be kept with the run it describes."""
  return json.dumps(config.to_dict(), indent=2) + '\n'


def from_json(text: str, where: str = 'the saved configuration') -> ConfigDict:
  """Reads what `to_json` of this or an earlier version wrote; tuples come back as tuples.

  Args:
    text: the text.
    where: what it was read from, for messages.

  Raises:
    ValueError: the text is no configuration.
    UserError: it has keys that this version does not know, or lacks some that it needs.
  """
  try:
    tree = json.loads(text)
  except RecursionError:
    raise ValueError('its JSON is nested too deeply') from None
  if not isinstance(tree, dict):
    raise ValueError('it holds no configuration')
  for section in SECTIONS:
    if not isinstance(tree.get(section), dict):
      raise ValueError(f'it holds no section {section!r}')
    tree[section] = {key: freeze(value) for key, value in tree[section].items()}
  if unknown := sorted(flatten(tree).keys() - KEYS.keys()):
    raise UserError(
      f'{where} has keys that air_jax {__version__} does not know: {", ".join(unknown)}; '
      'use the version that wrote it'
    )
  config = fill(ConfigDict(tree))
  if missing := sorted(KEYS.keys() - flatten(config).keys()):
    raise UserError(f'{where} lacks {", ".join(missing)}, whose values cannot be known')
  return config


def fill(config: ConfigDict) -> ConfigDict:
  """A copy with the keys of `ADDED` that a configuration of an earlier version lacks."""
  tree = config.to_dict()
  for key, value in ADDED.items():
    section, _, name = key.rpartition('.')
    if isinstance(tree.get(section), dict):
      tree[section].setdefault(name, value)
  return ConfigDict(tree)


def changed_keys(old: ConfigDict, new: ConfigDict) -> list[str]:
  """Sorted dotted keys in which two configurations differ, once both are filled."""
  flat, other = flatten(fill(old)), flatten(fill(new))
  return sorted(key for key in flat.keys() | other.keys() if flat.get(key) != other.get(key))
