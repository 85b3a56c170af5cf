"""The configuration: an ml_collections ConfigDict, turned once into checked frozen dataclasses.

configs/default.py says what each key means. The fields here have the same names; the few a model
needs from other sections (canvas size, whether there is a baseline) are filled in by `parse`.
"""

import dataclasses
import difflib
import json
from dataclasses import dataclass

from ml_collections import ConfigDict

from air_jax.errors import UserError
from air_jax.objectives import OBJECTIVES


@dataclass(frozen=True)
class Recipe:
  """What of section `data` decides a scene, beside the glyphs and the seed."""

  source: str
  layout: str
  canvas_size: int
  colour: bool
  min_objects: int
  max_objects: int
  min_scale: float
  max_scale: float
  background: str
  noise: float


@dataclass(frozen=True)
class DataConfig(Recipe):
  """Which scenes: section `data`."""

  mnist_dir: str
  omniglot_dir: str
  dir: str
  counts_csv: str
  fit: str
  strict: bool
  cache_dir: str
  train_scenes: int
  test_scenes: int
  seed: int
  online: bool
  reading: str
  resident_gb: float
  workers: int


@dataclass(frozen=True)
class ModelConfig:
  """The networks and priors: section `model`."""

  max_steps: int
  glimpse_size: int
  code_size: int
  cell_size: int
  patch_size: int
  patch_features: int
  encoder_sizes: tuple
  presence_sizes: tuple
  location_sizes: tuple
  glimpse_encoder_sizes: tuple
  glimpse_decoder_sizes: tuple
  residual: bool
  attention_heads: int
  background: str
  background_code_size: int
  background_grid: int
  background_sizes: tuple
  baseline_sizes: tuple
  likelihood_std: float
  presence_bias: float
  where_std_bias: float
  what_std_bias: float
  output_bias: float
  size_prior_mean: float
  size_prior_std: float
  shift_prior_std: float
  canvas_size: int  # data.canvas_size
  channels: int  # 3 if data.colour, else 1
  baseline: bool  # whether objective.name is 'nvil'


@dataclass(frozen=True)
class ObjectiveConfig:
  """The loss and its schedules: section `objective`."""

  name: str
  sampled_kl: bool
  smoothing: float
  smoothing_hold: int
  smoothing_steps: int
  kl_warmup: float
  kl_warmup_steps: int
  prior_start: float
  prior_end: float
  prior_steps: int


@dataclass(frozen=True)
class TrainConfig:
  """The optimiser and the rhythm of a run: section `train`."""

  steps: int
  batch_size: int
  learning_rate: float
  adam_b2: float
  final_learning_rate: float
  baseline_learning_rate: float
  average: float
  clip_norm: float
  log_every: int
  eval_every: int
  checkpoint_every: int
  keep_checkpoints: int


@dataclass(frozen=True)
class Config:
  """All of it."""

  seed: int
  data: DataConfig
  model: ModelConfig
  objective: ObjectiveConfig
  train: TrainConfig


def parse(config):
  """Checks a configuration and freezes it.

  Args:
    config: ConfigDict with the keys of configs/default.py.

  Returns:
    `Config`.

  Raises:
    UserError: a key is unknown, missing, of the wrong type or has an impossible value.
  """
  given = flatten(config)
  unknown = given.keys() - _TYPES.keys()
  missing = _TYPES.keys() - given.keys()
  if unknown:
    raise unknown_key(min(unknown), _TYPES)
  if missing:
    raise UserError(f'config lacks {", ".join(sorted(missing))}; see configs/default.py')
  _check_values(given)
  _check_together(given)
  sections = {
    section: {key: _freeze(value) for key, value in config[section].items()}
    for section in ('data', 'model', 'objective', 'train')
  }
  latent = config.model.background == 'latent'
  background_code_size = config.model.background_code_size if latent else 0
  model = ModelConfig(
    **sections['model'] | {'background_code_size': background_code_size},
    canvas_size=config.data.canvas_size,
    channels=3 if config.data.colour else 1,
    baseline=config.objective.name == 'nvil',
  )
  return Config(
    seed=config.seed,
    data=DataConfig(**sections['data']),
    model=model,
    objective=ObjectiveConfig(**sections['objective']),
    train=TrainConfig(**sections['train']),
  )


def check_data(fields):
  """Checks what section `data` says, given as a dict of `DataConfig`'s fields.

  Raises:
    UserError: a field is of the wrong type or has an impossible value.
  """
  given = {f'data.{name}': value for name, value in fields.items()}
  _check_values(given)
  _check_data(given)


def flatten(config):
  """A nested mapping as a flat dict with dotted keys."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, (ConfigDict, dict)):
      flat |= {f'{key}.{inner}': v for inner, v in flatten(value).items()}
    else:
      flat[key] = value
  return flat


def unknown_key(key, known):
  """The error for a key that does not exist, naming the nearest one that does."""
  near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
  return UserError(f'unknown config key {key!r}; did you mean {near[0]!r}?')


def to_json(config):
  """A ConfigDict as text, to be kept with the run it describes."""
  return json.dumps(config.to_dict(), indent=2) + '\n'


def from_json(text):
  """The ConfigDict that `to_json` wrote; tuples come back as tuples."""
  tree = json.loads(text)
  if not isinstance(tree, dict):
    raise ValueError('it holds no configuration')
  for section in filter(lambda value: isinstance(value, dict), tree.values()):
    section |= {key: _freeze(value) for key, value in section.items()}
  return ConfigDict(tree)


def changed_keys(old, new):
  """Sorted dotted keys in which two configurations differ."""
  old, new = flatten(old), flatten(new)
  return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _freeze(value):
  return tuple(value) if isinstance(value, list) else value


def _types():
  derived = {'canvas_size', 'channels', 'baseline'}
  types = {'seed': int}
  for field in dataclasses.fields(Config)[1:]:
    for inner in dataclasses.fields(field.type):
      if field.name != 'model' or inner.name not in derived:
        types[f'{field.name}.{inner.name}'] = inner.type
  return types


_TYPES = _types()


def _at_least(least):
  return lambda value: value >= least, f'at least {least}'


def _one_of(*names):
  return lambda value: value in names, f'one of {", ".join(map(repr, names))}'


_POSITIVE = (lambda value: 0 < value < float('inf'), 'a finite number greater than 0')
_SHARE = (lambda value: 0 <= value <= 1, 'in [0, 1]')
_LAYERS = (
  lambda sizes: len(sizes) > 0 and all(_is_a(s, int) and s > 0 for s in sizes),
  'at least one layer size, each a whole number greater than 0',
)
_FINITE = (lambda value: abs(value) < float('inf'), 'finite')

_FOLDER = "with data.source='folder', whose images are all read at the start"

_ALLOWED = {
  'seed': (lambda value: 0 <= value < 2**32, 'in [0, 2**32)'),
  'data.source': _one_of('digits', 'mnist', 'omniglot', 'sprites', 'dsprites', 'folder'),
  'data.layout': _one_of('disjoint', 'touching'),
  'data.fit': _one_of('crop', 'pad', 'squash'),
  'data.canvas_size': _at_least(1),
  'data.min_objects': _at_least(0),
  'data.max_objects': _at_least(1),
  'data.min_scale': _POSITIVE,
  'data.max_scale': _POSITIVE,
  'data.background': _one_of('black', 'grey', 'gradient', 'texture'),
  'data.noise': _SHARE,
  'data.train_scenes': _at_least(1),
  'data.test_scenes': _at_least(1),
  'data.seed': (lambda value: 0 <= value < 2**32, 'in [0, 2**32)'),
  'data.reading': _one_of('auto', 'resident', 'stream'),
  'data.resident_gb': (lambda value: 0 <= value < float('inf'), 'a finite number, at least 0'),
  'data.workers': _at_least(0),
  'model.max_steps': _at_least(1),
  'model.glimpse_size': _at_least(1),
  'model.code_size': _at_least(1),
  'model.cell_size': _at_least(1),
  'model.patch_size': _at_least(0),
  'model.patch_features': _at_least(1),
  'model.encoder_sizes': _LAYERS,
  'model.presence_sizes': _LAYERS,
  'model.location_sizes': _LAYERS,
  'model.glimpse_encoder_sizes': _LAYERS,
  'model.glimpse_decoder_sizes': _LAYERS,
  'model.attention_heads': _at_least(1),
  'model.background': _one_of('black', 'constant', 'latent'),
  'model.background_code_size': _at_least(1),
  'model.background_grid': _at_least(2),
  'model.background_sizes': _LAYERS,
  'model.baseline_sizes': _LAYERS,
  'model.likelihood_std': _POSITIVE,
  'model.presence_bias': _FINITE,
  'model.where_std_bias': _FINITE,
  'model.what_std_bias': _FINITE,
  'model.output_bias': _FINITE,
  'model.size_prior_mean': (lambda value: 0 < value < 1, 'in (0, 1)'),
  'model.size_prior_std': _POSITIVE,
  'model.shift_prior_std': _POSITIVE,
  'objective.name': _one_of(*OBJECTIVES),
  'objective.smoothing': _SHARE,
  'objective.smoothing_hold': _at_least(0),
  'objective.smoothing_steps': _at_least(0),
  'objective.kl_warmup': (lambda value: 0 < value <= 1, 'in (0, 1]'),
  'objective.kl_warmup_steps': _at_least(0),
  'objective.prior_start': _POSITIVE,
  'objective.prior_end': _POSITIVE,
  'objective.prior_steps': _at_least(0),
  'train.steps': _at_least(1),
  'train.batch_size': _at_least(1),
  'train.learning_rate': _POSITIVE,
  'train.adam_b2': (lambda value: 0 <= value < 1, 'in [0, 1)'),
  'train.final_learning_rate': _SHARE,
  'train.baseline_learning_rate': _POSITIVE,
  'train.average': (lambda value: 0 <= value < 1, 'in [0, 1)'),
  'train.clip_norm': (lambda value: 0 <= value < float('inf'), 'a finite number, at least 0'),
  'train.log_every': _at_least(1),
  'train.eval_every': _at_least(1),
  'train.checkpoint_every': _at_least(1),
  'train.keep_checkpoints': _at_least(1),
}


def _check_values(given):
  for key, value in given.items():
    _check(key, value, _is_a(value, _TYPES[key]), f'of type {_TYPES[key].__name__}')
    if key in _ALLOWED:
      allowed, says = _ALLOWED[key]
      _check(key, value, allowed(value), says)


def _check_data(given):
  """Checks that concern two keys of section `data`."""
  _check_order(given, 'data.min_objects', 'data.max_objects')
  _check_order(given, 'data.min_scale', 'data.max_scale')
  if given['data.source'] == 'folder':
    _check('data.online', given['data.online'], not given['data.online'], f'False {_FOLDER}')
    _check(
      'data.reading',
      given['data.reading'],
      given['data.reading'] != 'stream',
      f"'auto' or 'resident' {_FOLDER}",
    )


def _check_together(given):
  """Checks that concern two keys."""
  _check_data(given)
  _check_order(given, 'model.glimpse_size', 'data.canvas_size')
  _check_order(given, 'model.patch_size', 'data.canvas_size')
  if given['data.source'] != 'folder':
    _check_order(given, 'train.batch_size', 'data.train_scenes')
  if given['model.residual']:
    patch = given['model.patch_size']
    _check('model.patch_size', patch, patch > 0, 'greater than 0 with model.residual=True')


def _check_order(given, small, large):
  _check(small, given[small], given[small] <= given[large], f'at most {large}={given[large]}')


def _check(key, value, good, allowed):
  if not good:
    raise UserError(f'config.{key}={value!r} is not allowed; it must be {allowed}')


def _is_a(value, kind):
  if kind is float:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
  if kind is int:
    return isinstance(value, int) and not isinstance(value, bool)
  return isinstance(value, (tuple, list) if kind is tuple else kind)
