"""The data sets of this package as TFDS builders, without TensorFlow.

Importing this module registers them, so `tfds.builder('multi_mnist/disjoint')` and
`tfds.data_source('multi_mnist/disjoint')` find them; `python -m air_jax.cli.build_dataset` builds
one. Records are in the order of the scenes, and for one version always the same bytes. A record
holds a scene; for training streams it holds a block of them, since array_record takes as long to
find a record as to read a hundred kilobytes.
"""

import dataclasses
import itertools
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from absl import logging
from tensorflow_datasets.core import dataset_builder, example_serializer, sequential_writer

from air_jax.config import schema
from air_jax.config.sections import DataConfig
from air_jax.configs import default
from air_jax.data import batches, composition, memory, scene_cache, sources
from air_jax.data.tfds_variants import VARIANTS
from air_jax.errors import UserError

_VERSION = f'{composition.VERSION}.1.0'
_FILE_BYTES = 2**28  # of a file, before array_record compresses it
_COMPRESSION = 20  # array_record makes records at most so many times smaller
_ABANDONED = 3600.0  # seconds after which an unfinished data set is deleted


@dataclasses.dataclass(kw_only=True)
class SceneConfig(tfds.core.BuilderConfig):
  """Which scenes a builder composes."""

  data: DataConfig
  block: int = 0  # scenes in a record, under a leading axis; 0: one, without that axis


class ComposedScenes(  # type: ignore[call-arg]  # mypy does not know TFDS's class argument
  dataset_builder.FileReaderBuilder, skip_registration=True
):
  """Scenes of glyphs from outside this package."""

  # The base of all builders here. It writes records as they are composed: TFDS's own writer holds
  # all of them in memory, and needs TensorFlow beyond a gigabyte.

  VERSION = tfds.core.Version(_VERSION)
  RELEASE_NOTES = {_VERSION: 'Scenes are a function of configuration, split and index alone.'}
  citation = license = ''

  def __init__(self, *, folders: dict[str, str] | None = None, **options: Any):
    """Takes folders of glyph files by key of section `data`, and the options of TFDS.

    Folders are no part of the `SceneConfig`: the same scenes have the same config anywhere.
    """
    self._folders = folders or {}
    super().__init__(**options)

  def _info(self) -> tfds.core.DatasetInfo:
    data, block = self.builder_config.data, self.builder_config.block
    side, most = data.canvas_size, data.most_objects
    shapes = {
      'image': ((side, side, 3 if data.colour else 1), np.uint8),
      'count': ((), np.int32),
      'boxes': ((most, 4), np.float32),
      'labels': ((most,), np.int32),
      'scales': ((most,), np.float32),
      'rotations': ((most,), np.float32),
      'segments': ((side, side), np.uint16),
      'places': ((most, 2), np.float32),
    }
    if block:  # for training, which does without
      del shapes['segments'], shapes['places']
    return tfds.core.DatasetInfo(
      builder=self,
      description=f'{self.__doc__}\n\n{self.builder_config.description or ""}',
      features=tfds.features.FeaturesDict(
        {
          name: tfds.features.Tensor(
            shape=(block, *shape) if block else shape,
            dtype=dtype,
            encoding=tfds.features.Encoding.BYTES if name in ('image', 'segments') else 'none',
          )
          for name, (shape, dtype) in shapes.items()
        }
      ),
      disable_shuffling=True,
      citation=self.citation,
      license=self.license,
    )

  def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
    del dl_manager, download_config  # downloads.py fetches, for training without TFDS as well
    data = self.builder_config.data
    splits = [self._write(name, scene_cache.size(data, name)) for name in composition.SPLITS]
    self.info.set_splits(tfds.core.SplitDict(splits))

  def _write(self, split: str, size: int) -> tfds.core.SplitInfo:
    """Writes the files of a split."""
    template = tfds.core.ShardedFileTemplate(
      dataset_name=self.name,
      data_dir=self.data_path,
      split=split,
      filetype_suffix='array_record',
      template='{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}',
    )
    files = sequential_writer.Split(
      tfds.core.SplitInfo(split, shard_lengths=[], num_bytes=0, filename_template=template),
      file_format=tfds.core.FileFormat.ARRAY_RECORD,
    )
    serializer = example_serializer.ExampleSerializer(self.info.features.get_serialized_info())
    records = tqdm.tqdm(
      self._records(split, size),
      desc=f'{self.name}, {split}',
      total=-(-size // max(self.builder_config.block, 1)),
      unit='record',
      dynamic_ncols=True,
      disable=not sys.stderr.isatty(),
    )
    for record in records:
      files.add_example(serializer.serialize_example(self.info.features.encode_example(record)))
      if files.current_shard.num_bytes > _FILE_BYTES:
        files.close_shard()
    files.close()
    return files.info

  def _records(self, split: str, size: int) -> Iterator[dict[str, np.ndarray]]:
    block = self.builder_config.block
    # The last block is filled up with the first scenes.
    endless = itertools.chain.from_iterable(self._rows(split, size) for _ in itertools.count())
    for _ in range(-(-size // max(block, 1))):
      rows = list(itertools.islice(endless, max(block, 1)))
      fields = map(np.stack, zip(*rows, strict=True)) if block else rows[0]
      yield dict(zip(self.info.features, fields, strict=True))

  def _rows(self, split: str, size: int) -> Iterator[tuple[np.ndarray, ...]]:
    """The fields of each scene, in their order."""
    data = dataclasses.replace(self.builder_config.data, **self._folders)
    glyphs = sources.read_glyphs(data, split)
    for scenes in composition.compose(data, glyphs, split, 0, size):
      yield from zip(*scenes[: len(self.info.features)], strict=True)


def _configs(source: str) -> list[SceneConfig]:
  variants = VARIANTS.get(source, {})
  if source in sources.GLYPHS:
    variants = {'disjoint': ('Objects at native size; no two boxes overlap.', {}), **variants}
  data = dataclasses.replace(schema.parse(default.get_config()).data, source=source)
  return [
    SceneConfig(name=name, description=description, data=dataclasses.replace(data, **changes))
    for name, (description, changes) in variants.items()
  ]


class Sprites(ComposedScenes):
  """Scenes of 0-2 circles, squares and triangles, as in Eslami et al., arXiv:1603.08575."""

  BUILDER_CONFIGS = _configs('sprites')
  citation = 'S. M. A. Eslami et al., Attend, Infer, Repeat, NIPS 2016.'
  license = 'Apache 2.0'


class MultiDsprites(ComposedScenes):
  """Scenes of 0-2 squares, ellipses and hearts, of many sizes and at all angles."""

  BUILDER_CONFIGS = _configs('dsprites')
  citation = 'L. Matthey et al., dSprites: disentanglement testing sprites dataset, 2017.'
  license = 'Apache 2.0'


class TablePrimitives(ComposedScenes):
  """Scenes of 0-3 cubes, spheres and cylinders on a table, after Eslami et al., 1603.08575."""

  BUILDER_CONFIGS = _configs('table_primitives')
  citation = 'S. M. A. Eslami et al., Attend, Infer, Repeat, NIPS 2016.'
  license = 'Apache 2.0'


def _of_glyphs(source: str) -> type[ComposedScenes]:
  """The builder class Multi<Source> of a source of glyphs; TFDS registers it by that name."""
  about = sources.GLYPHS[source]
  fields = {
    '__doc__': f'Scenes of {about.about}.',
    '__module__': __name__,
    'BUILDER_CONFIGS': _configs(source),
    'citation': about.citation,
    'license': about.license,
  }
  name = source.title().replace('_', '')
  return type(f'Multi{name}', (ComposedScenes,), fields)


BUILDERS: dict[str, type[ComposedScenes]] = {
  **{source: _of_glyphs(source) for source in sources.GLYPHS},
  'sprites': Sprites,
  'dsprites': MultiDsprites,
  'table_primitives': TablePrimitives,
}


def for_config(data: DataConfig) -> ComposedScenes:
  """The builder of a configuration's scenes, with records of blocks in the cache folder.

  Args:
    data: of a source whose scenes are composed.

  Returns:
    a builder that may not be prepared yet.
  """
  names = [
    scene_cache.fingerprint(data, sources.read_glyphs(data, split), split)[:12]
    for split in composition.SPLITS
  ]
  given = SceneConfig(name='_'.join(['scenes', *names]), data=data, block=batches.BLOCK)
  cls = BUILDERS.get(data.source, ComposedScenes)
  return make(cls, given, sources.cache_folder(data) / 'tfds')


def make(
  cls: type[ComposedScenes],
  config: SceneConfig,
  data_dir: str | pathlib.Path | None,
  folders: dict[str, str] | None = None,
) -> ComposedScenes:
  """A builder of a configuration that its class does not list.

  Args:
    cls: one of `BUILDERS`.
    config: which scenes.
    data_dir: folder of its records; None: the default of TFDS.
    folders: folders of glyph files, by key of section `data`; others are downloaded.
  """
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)  # TFDS warns that the configuration is not listed
  try:
    return cls(config=config, data_dir=data_dir, file_format='array_record', folders=folders)
  finally:
    logging.set_verbosity(verbosity)


def prepare(builder: ComposedScenes) -> None:
  """Builds a data set unless it exists; an interrupted build is started again.

  Raises:
    UserError: its glyphs cannot be had, it needs more space than there is, or it cannot be written.
  """
  if builder.is_prepared():
    return
  _check_space(builder)
  folder = builder.data_path.parent
  for left in folder.glob(f'incomplete.*_{builder.data_path.name}'):
    if time.time() - os.path.getmtime(left) > _ABANDONED:  # else another process may be writing it
      shutil.rmtree(left, ignore_errors=True)
  try:
    builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )
  except UserError:
    raise
  except Exception as error:  # TFDS and array_record raise many types
    if builder.is_prepared():  # another program built the same data set meanwhile
      builder.info.read_from_directory(builder.data_path)
      return
    raise UserError(
      f'{builder.info.full_name} cannot be built in {folder} ({type(error).__name__}: {error}); '
      'once that is mended, the same command builds it'
    ) from error


def _check_space(builder: ComposedScenes) -> None:
  """Refuses a data set that the disk cannot hold, before hours are spent on composing it.

  Raises:
    UserError: with what it needs and what there is.
  """
  data = builder.builder_config.data
  sizes = {name: scene_cache.size(data, name) for name in composition.SPLITS}
  scenes = sum(size * memory.scene_bytes(data, name) for name, size in sizes.items())
  least = scenes // _COMPRESSION
  there = next(path for path in builder.data_path.parents if path.exists())
  if least > (free := shutil.disk_usage(there).free):
    raise UserError(
      f'data.train_scenes={data.train_scenes} and data.test_scenes={data.test_scenes} need at '
      f'least {least / 1e9:,.1f} GB on disk, and {there} has {free / 1e9:,.1f} GB; take fewer, or '
      'data.online=True, which keeps none'
    )
