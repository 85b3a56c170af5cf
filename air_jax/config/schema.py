"""The configuration: an ml_collections ConfigDict, turned once into checked frozen dataclasses.

configs/default.py says what each key means. The fields here have the same names; the few a model
needs from other sections (canvas size, whether there is a baseline) are filled in by `parse`.
"""

import dataclasses
import difflib
import json
from dataclasses import dataclass

from ml_collections import ConfigDict

from air_jax.config import constraints
from air_jax.errors import UserError
from air_jax.objectives.registry import ESTIMATORS


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
class ModelSpec:
  """The architecture: what decides the program. Members of a population share it."""

  max_steps: int
  glimpse_size: int
  code_size: int
  cell_size: int
  patch_size: int
  patch_features: int
  patch_rounds: int
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
  learn_size_prior: bool
  shift_prior_std: float
  count_by: str
  likelihood: str
  networks: str
  canvas_size: int  # data.canvas_size
  channels: int  # 3 if data.colour, else 1
  baseline: bool  # whether the objective learns one
  success: float  # objective.prior_end


@dataclass(frozen=True)
class ModelConfig(ModelSpec):
  """The networks and priors: section `model`. The fields here are `ModelNumbers`."""

  likelihood_std: float
  presence_bias: float
  where_std_bias: float
  what_std_bias: float
  output_bias: float
  size_prior_mean: float
  size_prior_std: float


@dataclass(frozen=True)
class ObjectiveConfig:
  """The loss and its schedules: section `objective`."""

  name: str
  particles: int
  centre: bool
  normalise: bool
  sleep: bool
  temperature: float
  final_temperature: float
  temperature_steps: int
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
class UpdateConfig:
  """What of section `train` decides an update, beside the learning rate."""

  steps: int
  batch_size: int
  adam_b2: float
  final_learning_rate: float
  baseline_learning_rate: float
  average: float
  clip_norm: float
  skip_not_finite: int


@dataclass(frozen=True)
class TrainConfig(UpdateConfig):
  """The optimiser and the intervals of a run: section `train`."""

  learning_rate: float
  log_every: int
  eval_every: int
  draw_every: int
  checkpoint_every: int
  keep_checkpoints: int
  keep_every: int
  keep_best: int
  population: int
  success: float


@dataclass(frozen=True)
class MembersConfig:
  """What each member of a population has of its own: section `members`."""

  learning_rate: tuple
  likelihood_std: tuple
  presence_bias: tuple
  where_std_bias: tuple
  what_std_bias: tuple
  output_bias: tuple
  size_prior_mean: tuple
  size_prior_std: tuple


@dataclass(frozen=True)
class Config:
  """All of it."""

  seed: int
  data: DataConfig
  model: ModelConfig
  objective: ObjectiveConfig
  train: TrainConfig
  members: MembersConfig


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
  constraints.check(given, _TYPES)
  sections = {
    section: {key: _freeze(value) for key, value in config[section].items()}
    for section in ('data', 'model', 'objective', 'train', 'members')
  }
  latent = config.model.background == 'latent'
  background_code_size = config.model.background_code_size if latent else 0
  model = ModelConfig(
    **sections['model'] | {'background_code_size': background_code_size},
    canvas_size=config.data.canvas_size,
    channels=3 if config.data.colour else 1,
    baseline=ESTIMATORS[config.objective.name].baseline,
    success=config.objective.prior_end,
  )
  return Config(
    seed=config.seed,
    data=DataConfig(**sections['data']),
    model=model,
    objective=ObjectiveConfig(**sections['objective']),
    train=TrainConfig(**sections['train']),
    members=MembersConfig(**sections['members']),
  )


def base(kind, config):
  """The part of a configuration that a base class of its type holds, such as `ModelSpec`."""
  return kind(**{field.name: getattr(config, field.name) for field in dataclasses.fields(kind)})


def check_data(fields):
  """Checks what section `data` says, given as a dict of `DataConfig`'s fields.

  Raises:
    UserError: a field is of the wrong type or has an impossible value.
  """
  constraints.check_data({f'data.{name}': value for name, value in fields.items()}, _TYPES)


def flatten(config):
  """A nested mapping as a flat dict with dotted keys."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, (ConfigDict, dict)):
      flat |= {f'{key}.{inner}': v for inner, v in flatten(value).items()}
    else:
      flat[key] = value
  return flat


def to_flat(config):
  """A `Config` as a dict by dotted key, without lists of members, whose numbers it has taken."""
  nested = dataclasses.asdict(config)
  keys = [key.rpartition('.') for key in _TYPES if not key.startswith('members.')]
  return {f'{s}{dot}{name}': (nested[s] if s else nested)[name] for s, dot, name in keys}


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
  derived = {'canvas_size', 'channels', 'baseline', 'success'}
  types = {'seed': int}
  for field in dataclasses.fields(Config)[1:]:
    for inner in dataclasses.fields(field.type):
      if field.name != 'model' or inner.name not in derived:
        types[f'{field.name}.{inner.name}'] = inner.type
  return types


_TYPES = _types()
