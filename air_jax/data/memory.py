"""The memory that composed scenes take, and the refusal of what this machine cannot hold."""

from air_jax.config.sections import DataConfig
from air_jax.data import objects, table_scenes
from air_jax.runtime import memory

_OBJECT = 36  # bytes of what is known of an object: its box, label, scale, rotation and place


def scene_bytes(config: DataConfig, split: str) -> int:
  """Size of a scene; only those of split 'test' are kept with their segments."""
  pixel = (3 if config.colour else 1) + (2 if split == 'test' else 0)
  return config.canvas_size**2 * pixel + config.most_objects * _OBJECT


def check_batch(config: DataConfig, size: int) -> None:
  """Refuses scenes of which not even some can be composed at once.

  Args:
    config: section `data`.
    size: how many are composed at once.

  Raises:
    UserError: with what they need and what there is.
  """
  on_table = config.source in table_scenes.SOURCES
  side = table_scenes.table_side(config) if on_table else objects.largest(config)
  floats = config.canvas_size**2 + config.most_objects * side**2
  # The loop that composes them holds a scene, the next attempt at it, and what that is made of.
  _check(_sizes(config), 4 * 4 * size * floats, 'smaller ones need less')


def check_set(config: DataConfig, split: str, size: int) -> None:
  """Refuses so many scenes of a split, kept in memory.

  Raises:
    UserError: with what they need and what there is.
  """
  advice = 'fewer or smaller ones need less'
  if split == 'train':
    advice += ", and data.reading='stream' keeps them on disk"
  what = f'data.{split}_scenes={size}, {_sizes(config)}'
  _check(what, size * scene_bytes(config, split), advice)


def _sizes(config: DataConfig) -> str:
  sizes = f'data.canvas_size={config.canvas_size}, data.max_scale={config.max_scale:g}'
  return f'{sizes}, data.max_objects={config.max_objects}'


def _check(what: str, need: int, advice: str) -> None:
  memory.check(f'composing scenes of {what}', need, memory.of_machine(), advice)
