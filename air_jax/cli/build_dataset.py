"""Builds a data set: python -m air_jax.cli.build_dataset NAME[/CONFIG] [--data_dir=FOLDER] ...

Without a name it lists what can be built. Records are array_record files in TFDS's own folder
(~/tensorflow_datasets, $TFDS_DATA_DIR) or in --data_dir; `tfds.data_source(NAME, data_dir=...)`
reads them once `air_jax.data.tfds_builders` is imported.
"""

import dataclasses
from typing import Any

from absl import app, flags, logging

from air_jax.cli import command_line
from air_jax.data import sources
from air_jax.errors import UserError
from air_jax.runtime import extras

_DATA_DIR = flags.DEFINE_string('data_dir', None, "Folder for the records; default TFDS's own.")
_FOLDERS = [source.folder_key for source in sources.GLYPHS.values() if source.folder_key]
for _name in _FOLDERS:
  # Another program of this process, such as a benchmark, may have a flag of the same name.
  text = f'data.{_name}: a folder of original files; default: download.'
  flags.DEFINE_string(_name, '', text, allow_override=True)
_CHANGES = ('canvas_size', 'min_objects', 'max_objects', 'train_scenes', 'test_scenes', 'seed')
for _name in _CHANGES:
  flags.DEFINE_integer(_name, None, f'data.{_name}, in place of the value of the data set.')
_SCALES = ('min_scale', 'max_scale')
for _name in _SCALES:
  flags.DEFINE_float(_name, None, f'data.{_name}, in place of the value of the data set.')


@command_line.one_line_errors
def main(argv: list[str]) -> None:
  """Builds the data set named, with progress, and prints where it is."""
  logging.set_verbosity(logging.WARNING)
  values = flags.FLAGS.flag_values_dict()
  if len(argv) > 2:
    raise UserError(f'one data set at a time; given {", ".join(argv[1:])}')
  if not argv[1:]:
    print(list_data_sets())
    return
  changes = {name: values[name] for name in (*_CHANGES, *_SCALES) if values[name] is not None}
  print(build(argv[1], _DATA_DIR.value, {name: values[name] for name in _FOLDERS}, changes))


def list_data_sets() -> str:
  """A line for each data set: its name and description."""
  return '\n'.join(f'{name:28} {config.description}' for name, (_, config) in _known().items())


def build(name: str, data_dir: str | None, folders: dict[str, str], changes: dict[str, Any]) -> str:
  """Builds a data set; returns a line that says what it holds and where it is.

  Args:
    name: NAME/CONFIG, or NAME for its first configuration.
    data_dir: folder of the records; None: the default of TFDS.
    folders: folders of glyph files, by key of section `data`.
    changes: values of keys of section `data` that differ from the configuration.

  Raises:
    UserError: there is no such data set, a value is not allowed, or it cannot be built.
  """
  from air_jax.config import schema

  with extras.needed('data', 'building a data set'):
    from air_jax.data import tfds_builders

  known = _known()
  matching = [other for other in known if other == name or other.startswith(f'{name}/')]
  if not matching:
    raise UserError(f'unknown data set {name!r}; known are {", ".join(known)}')
  cls, config = known[matching[0]]
  schema.check_data(dataclasses.asdict(config.data) | changes)
  if changes:
    suffix = [f'{key}_{value}' for key, value in sorted(changes.items())]
    config = tfds_builders.SceneConfig(
      name='_'.join([config.name, *suffix]),
      description=config.description,
      data=dataclasses.replace(config.data, **changes),
    )
  builder = tfds_builders.make(cls, config, data_dir, folders)
  tfds_builders.prepare(builder)
  sizes = ', '.join(f'{split.num_examples:,} {key}' for key, split in builder.info.splits.items())
  return f'{builder.info.full_name}: {sizes} scenes in {builder.data_path}'


def _known() -> dict[str, tuple[Any, Any]]:
  """Builder class and configuration of each data set, by its name."""
  with extras.needed('data', 'building a data set'):
    from air_jax.data import tfds_builders

  return {
    f'{cls.name}/{config.name}': (cls, config)
    for cls in tfds_builders.BUILDERS.values()
    for config in cls.BUILDER_CONFIGS
  }


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
