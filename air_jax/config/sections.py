"""The fields of a configuration by section: the type of each, and which values it may have.

configs/default.py holds the value and the meaning of each; the fields here have the same names.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from air_jax.config import constraints as c

SOURCES = (
  'digits', 'pen_digits', 'mnist', 'omniglot', 'tetrominoes', 'sprites', 'dsprites', *c.TABLES,
  'folder', 'arrays',
)  # fmt: skip
# Of composed scenes.
BACKGROUNDS = 'black', 'grey', 'gradient', 'texture', 'level', 'colour', 'dim', 'grid'


class Derived(NamedTuple):
  """Marks a field of `ModelConfig` that `parse` fills in, and that is no key of section `model`."""

  source: str


@dataclass(frozen=True)
class Recipe:
  """The part of section `data` that decides a scene, apart from the glyphs and the seed."""

  source: Annotated[str, c.one_of(*SOURCES, path=True)]
  layout: Annotated[str, c.one_of('disjoint', 'adjacent', 'touching', 'occluding')]
  canvas_size: c.Size
  colour: bool
  palette: Annotated[str, c.one_of('bright', 'uniform')]
  min_objects: c.Count
  max_objects: Annotated[int, c.at_least(1, c.MOST_OBJECTS)]
  counts: Annotated[tuple[int, ...], c.counts]
  min_scale: c.Positive
  max_scale: c.Positive
  background: Annotated[str, c.one_of(*BACKGROUNDS)]
  noise: c.Fraction

  @property
  def drawn_counts(self) -> tuple[int, ...]:
    """The numbers of objects that scenes have, each as often as the others."""
    return self.counts or tuple(range(self.min_objects, self.max_objects + 1))

  @property
  def most_objects(self) -> int:
    """N, the most objects in a scene."""
    return max(self.drawn_counts)


@dataclass(frozen=True)
class DataConfig(Recipe):
  """The scenes: section `data`."""

  mnist_dir: str
  omniglot_dir: str
  dir: str
  counts_csv: str
  channel: Annotated[str, c.channel]
  levels: Annotated[tuple[float, ...], c.levels]
  stretch: bool
  invert: bool
  gamma: c.Positive
  object_pixels: c.NotNegative
  fit: Annotated[str, c.one_of('crop', 'pad', 'squash')]
  strict: bool
  cache_dir: str
  train_scenes: c.Size
  test_scenes: c.Size
  seed: c.Seed
  online: bool
  reading: Annotated[str, c.one_of('auto', 'resident', 'stream')]
  resident_gb: c.NotNegative
  workers: Annotated[int, c.at_least(0, 1000)]  # processes


@dataclass(frozen=True)
class ModelSpec:
  """The architecture: what decides the program. Members of a population share it."""

  max_steps: c.Size
  cell: Annotated[str, c.one_of('voting', 'lstm')]
  looks: Annotated[int, c.at_least(1, 32)]
  glimpse_size: c.Size
  code_size: c.Size
  cell_size: c.Size
  patch_size: c.Count
  patch_features: c.Size
  patch_rounds: c.Repeats
  encoder_sizes: c.Layers
  presence_sizes: c.Layers
  location_sizes: c.Layers
  glimpse_encoder_sizes: c.Layers
  glimpse_decoder_sizes: c.Layers
  residual: bool
  attention_heads: c.Size
  compositing: Annotated[str, c.one_of('add', 'over', 'depth')]
  background: Annotated[str, c.one_of('black', 'constant', 'latent', 'polynomial')]
  background_code_size: c.Size  # once parsed that of the background's code, 0 where it has none
  background_grid: Annotated[int, c.at_least(2)]
  background_degree: Annotated[int, c.one_of(0, 1, 2)]
  background_sizes: c.Layers
  baseline_sizes: c.Layers
  learn_size_prior: bool
  shift_prior_std: c.Positive
  count_by: Annotated[str, c.one_of('presence', 'explanation')]
  sweeps: c.Repeats
  likelihood: Annotated[str, c.one_of('gaussian', 'student', 'bernoulli', path=True)]
  learn_likelihood_std: bool
  networks: Annotated[str, c.path_or_empty]
  canvas_size: Annotated[int, Derived('data.canvas_size')]
  reference_size: Annotated[int, Derived('data.canvas_size in training')]
  channels: Annotated[int, Derived('3 if data.colour else 1')]
  baseline: Annotated[bool, Derived('whether the estimator objective.name learns one')]
  success: Annotated[float, Derived('objective.prior_end')]

  @property
  def remembers(self) -> bool:
    """Whether the cell has a state, and parameters for one size of canvas."""
    return self.cell == 'lstm'

  @property
  def glimpse_channels(self) -> int:
    """A: the channels of a glimpse, with a mask and a depth where objects hide others."""
    return self.channels + {'add': 0, 'over': 1, 'depth': 2}[self.compositing]

  @property
  def sees_left(self) -> bool:
    """Whether the cell looks at what earlier steps have left to explain."""
    return self.residual or not self.remembers


@dataclass(frozen=True)
class ModelConfig(ModelSpec):
  """The networks and priors: section `model`. The fields here are `types.ModelNumbers`."""

  likelihood_std: c.Positive
  presence_bias: c.Finite
  where_std_bias: c.Finite
  what_std_bias: c.Finite
  output_bias: c.Finite
  size_prior_mean: Annotated[float, c.inside_unit]
  size_prior_std: c.Positive


@dataclass(frozen=True)
class ObjectiveConfig:
  """The loss and its schedules: section `objective`."""

  name: Annotated[str, c.estimator]
  particles: c.Size
  centre: bool
  normalise: bool
  sleep: bool
  temperature: c.Positive
  final_temperature: c.Positive
  temperature_steps: c.Count
  sampled_kl: bool
  smoothing: c.Fraction
  smoothing_hold: c.Count
  smoothing_steps: c.Count
  final_smoothing: c.Fraction
  kl_warmup: Annotated[float, c.weight]
  kl_warmup_steps: c.Count
  prior_start: c.Positive
  prior_end: c.Positive
  prior_steps: c.Count


@dataclass(frozen=True)
class UpdateConfig:
  """The part of section `train` that decides an update, apart from the learning rate."""

  steps: c.Size
  batch_size: c.Size
  adam_b2: c.BelowOne
  final_learning_rate: c.Fraction
  baseline_learning_rate: c.Positive
  average: c.BelowOne
  clip_norm: c.NotNegative
  skip_not_finite: c.Count


@dataclass(frozen=True)
class TrainConfig(UpdateConfig):
  """The optimiser and the intervals of a run: section `train`."""

  learning_rate: c.Positive
  log_every: c.Size
  eval_every: c.Size
  stop_when: c.Count
  draw_every: c.Count
  checkpoint_every: c.Size
  keep_checkpoints: c.Size
  keep_every: c.Count
  keep_best: c.Count
  population: c.Size
  success: c.Fraction


@dataclass(frozen=True)
class MembersConfig:
  """Numbers in which members of a population differ: section `members`.

  Each is allowed what the key of the same name in another section is.
  """

  learning_rate: c.Numbers
  likelihood_std: c.Numbers
  presence_bias: c.Numbers
  where_std_bias: c.Numbers
  what_std_bias: c.Numbers
  output_bias: c.Numbers
  size_prior_mean: c.Numbers
  size_prior_std: c.Numbers


@dataclass(frozen=True)
class Config:
  """All of it."""

  seed: c.Seed
  data: DataConfig
  model: ModelConfig
  objective: ObjectiveConfig
  train: TrainConfig
  members: MembersConfig
