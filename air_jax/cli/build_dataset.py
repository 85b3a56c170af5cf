"""Builds a data set: python -m air_jax.cli.build_dataset NAME[/CONFIG] [--data_dir=FOLDER] ...

Without a name it lists what can be built. Records are array_record files where TFDS keeps its own
(~/tensorflow_datasets, $TFDS_DATA_DIR) or in --data_dir; `tfds.data_source(NAME, data_dir=...)`
reads them once `air_jax.data.tfds_builders` is imported.
"""

import dataclasses

from absl import app, flags, logging

from air_jax.cli import command_line
from air_jax.errors import UserError

_DATA_DIR = flags.DEFINE_string('data_dir', None, "Folder for the records; default TFDS's own.")
_MNIST_DIR = flags.DEFINE_string('mnist_dir', '', 'Folder of the four IDX files of MNIST.')
_OMNIGLOT_DIR = flags.DEFINE_string('omniglot_dir', '', "Folder of Omniglot's zip files.")
_CHANGES = ('canvas_size', 'min_objects', 'max_objects', 'train_scenes', 'test_scenes', 'seed')
for _name in _CHANGES:
  flags.DEFINE_integer(_name, None, f'data.{_name}, in place of what the data set has.')
_SCALES = ('min_scale', 'max_scale')
for _name in _SCALES:
  flags.DEFINE_float(_name, None, f'data.{_name}, in place of what the data set has.')


@command_line.one_line_errors
def main(argv):
  """Builds what is named, with progress, and says where it is."""
  logging.set_verbosity(logging.WARNING)
  from air_jax.config import schema as config_lib
  from air_jax.data import tfds_builders

  known = {
    f'{cls.name}/{config.name}': (cls, config)
    for cls in tfds_builders.BUILDERS.values()
    for config in cls.BUILDER_CONFIGS
  }
  if not argv[1:]:
    for name, (_, config) in known.items():
      print(f'{name:28} {config.description}')
    return
  if len(argv) > 2:
    raise UserError(f'one data set at a time; given {", ".join(argv[1:])}')
  matching = [name for name in known if name == argv[1] or name.startswith(f'{argv[1]}/')]
  if not matching:
    raise UserError(f'unknown data set {argv[1]!r}; known are {", ".join(known)}')
  cls, config = known[matching[0]]
  changes = {
    name: flags.FLAGS[name].value
    for name in (*_CHANGES, *_SCALES)
    if flags.FLAGS[name].value is not None
  }
  config_lib.check_data(dataclasses.asdict(config.data) | changes)
  if changes:
    name = '_'.join([config.name, *(f'{key}_{value}' for key, value in sorted(changes.items()))])
    config = tfds_builders.SceneConfig(
      name=name, description=config.description, data=dataclasses.replace(config.data, **changes)
    )
  builder = tfds_builders.make(cls, config, _DATA_DIR.value)
  builder.glyph_folders = {'mnist_dir': _MNIST_DIR.value, 'omniglot_dir': _OMNIGLOT_DIR.value}
  tfds_builders.prepare(builder)
  sizes = ', '.join(f'{split.num_examples:,} {key}' for key, split in builder.info.splits.items())
  print(f'{builder.info.full_name}: {sizes} scenes in {builder.data_path}')


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
