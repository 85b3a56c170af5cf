"""A finished run's configuration, changed to explain other scenes than it was trained on."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from air_jax.config import constraints as c
from air_jax.config import flat, schema
from air_jax.config.sections import Config, DataConfig
from air_jax.errors import UserError

_OF_TRAINING = {'train_scenes', 'online', 'reading', 'resident_gb', 'workers'}
# Keys that a model can be used with at another value than it was trained with.
CHANGEABLE = (
  *(f'data.{f.name}' for f in dataclasses.fields(DataConfig) if f.name not in _OF_TRAINING),
  'model.max_steps',
  'model.count_by',
  'model.sweeps',
  'objective.prior_end',
)


def adapt(config: Config, changes: Mapping[str, Any]) -> Config:
  """The configuration with other scenes, canvas, number of inference steps or price of an object.

  Args:
    config: of the run.
    changes: values by dotted key, each of `CHANGEABLE`.

  Raises:
    UserError: a key cannot change after training, a value is not allowed, the model cannot take
      such images, or it has fewer inference steps than the scenes have objects.
  """
  check_keys(changes)
  changes = {key: flat.freeze(value) for key, value in changes.items()}
  whole = schema.to_flat(config) | changes
  whole['model.background_code_size'] = whole['model.background_code_size'] or 1  # where unused
  c.check({**whole, **{key: () for key in schema.KEYS if key.startswith('members.')}}, schema.KEYS)
  of: dict[str, dict[str, Any]] = {section: {} for section in ('data', 'model', 'objective')}
  for key, value in changes.items():
    section, _, name = key.partition('.')
    of[section][name] = value
  data = dataclasses.replace(config.data, **of['data'])
  objective = dataclasses.replace(config.objective, **of['objective'])
  # The baseline, which only training needs, knows the number of steps and the size of the canvas.
  model = dataclasses.replace(
    config.model,
    canvas_size=data.canvas_size,
    baseline=False,
    success=objective.prior_end,
    **of['model'],
  )
  if data.colour != config.data.colour:
    was, given = (('grey', 'colour')[colour] for colour in (config.data.colour, data.colour))
    raise UserError(f'config.data.colour={data.colour}: the model was trained on {was} images')
  if data.canvas_size != config.data.canvas_size:
    _require_local(config)
  if data.source != 'folder' and model.max_steps < data.most_objects:
    raise UserError(
      f'scenes of up to {data.most_objects} objects need config.model.max_steps of at least that; '
      f'it is {model.max_steps}'
    )
  return dataclasses.replace(config, data=data, model=model, objective=objective)


def check_keys(keys: Iterable[str]) -> None:
  """Refuses keys that do not exist, and those that decide what was trained.

  Raises:
    UserError: there is one.
  """
  for key in keys:
    if key not in schema.KEYS:
      raise flat.unknown_key(key, schema.KEYS)
    if key not in CHANGEABLE:
      raise UserError(
        f'config.{key} cannot change after training; what can are model.max_steps, model.count_by, '
        'model.sweeps, objective.prior_end and the keys of section data that decide held-out scenes'
      )


def _require_local(config: Config) -> None:
  """Refuses another canvas where a network reads or paints whole ones."""
  size = config.data.canvas_size
  if config.model.remembers:
    reason = f"model.cell={config.model.cell!r} reads images of {size} pixels; 'voting' takes any"
  elif config.model.background == 'constant':
    reason = f"model.background='constant' has learned an image of {size} pixels"
  else:
    return
  raise UserError(f'config.data.canvas_size cannot differ from that in training: {reason}')
