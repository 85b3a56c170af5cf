"""The data sets of this package as TFDS builders, without TensorFlow.

Importing this module registers them, so that `tfds.builder('multi_mnist/disjoint')` and
`tfds.data_source('multi_mnist/disjoint')` find them;
`python -m air_jax.cli.build_dataset` builds one.
Records are in the order of the scenes, and the same for one version, whenever they are built. A
record holds a scene; those that training streams hold a block of them, since array_record takes as
long to find a record as to read a hundred kilobytes.
"""

import dataclasses
import itertools
import os
import shutil
import sys
import time

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from absl import logging
from tensorflow_datasets.core import dataset_builder, example_serializer, sequential_writer

from air_jax.config.schema import DataConfig
from air_jax.data import batches, loading
from air_jax.data import composition as scenes_lib
from air_jax.errors import UserError

_VERSION = f'{scenes_lib.VERSION}.1.0'
_FILE_BYTES = 2**28  # of a file, before array_record compresses it
_ABANDONED = 3600.0  # seconds after which half a data set is cleared away
_DEFAULT = DataConfig(
  source='digits', layout='disjoint', mnist_dir='', omniglot_dir='', dir='', counts_csv='',
  fit='crop', strict=False, cache_dir='', canvas_size=50, colour=False, min_objects=0,
  max_objects=2, min_scale=1.0, max_scale=1.0, background='black', noise=0.0, train_scenes=60_000,
  test_scenes=10_000, seed=0, online=False, reading='auto', resident_gb=2.0, workers=0,
)  # fmt: skip


@dataclasses.dataclass(kw_only=True)
class SceneConfig(tfds.core.BuilderConfig):
  """Which scenes a builder composes."""

  data: DataConfig
  block: int = 0  # scenes in a record, under a leading axis; 0: one, without that axis


class _Scenes(dataset_builder.FileReaderBuilder, skip_registration=True):
  """What all of them share: the features, composition, and records written as they come.

  (TFDS's own way holds all records in memory, and beyond a gigabyte needs TensorFlow.)
  """

  VERSION = tfds.core.Version(_VERSION)
  RELEASE_NOTES = {
    _VERSION: 'LabelledScenes are a function of configuration, split and index alone.'
  }
  citation, license = '', ''
  glyph_folders = {}  # `mnist_dir` and `omniglot_dir`, where not those of the configuration

  def _info(self):
    data, block = self.builder_config.data, self.builder_config.block
    side, most = data.canvas_size, data.max_objects
    shapes = {
      'image': ((side, side, 3 if data.colour else 1), np.uint8),
      'count': ((), np.int32),
      'boxes': ((most, 4), np.float32),
      'labels': ((most,), np.int32),
      'scales': ((most,), np.float32),
      'rotations': ((most,), np.float32),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description=f'{self.__doc__}\n\n{self.builder_config.description or ""}',
      features=tfds.features.FeaturesDict(
        {
          name: tfds.features.Tensor(
            shape=(block, *shape) if block else shape,
            dtype=dtype,
            encoding=tfds.features.Encoding.BYTES if name == 'image' else 'none',
          )
          for name, (shape, dtype) in shapes.items()
        }
      ),
      disable_shuffling=True,
      citation=self.citation,
      license=self.license,
    )

  def _download_and_prepare(self, dl_manager, download_config):
    del dl_manager, download_config  # data/downloads.py fetches, shared with plain training
    data = self.builder_config.data
    sizes = {'train': data.train_scenes, 'test': data.test_scenes}
    splits = [self._write(split, size) for split, size in sizes.items()]
    self.info.set_splits(tfds.core.SplitDict(splits))

  def _write(self, split, size):
    """Writes the files of a split; returns its `SplitInfo`."""
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

  def _records(self, split, size):
    block = self.builder_config.block
    # The last block is filled up with the first scenes.
    endless = itertools.chain.from_iterable(self._rows(split, size) for _ in itertools.count())
    for _ in range(-(-size // max(block, 1))):
      rows = list(itertools.islice(endless, max(block, 1)))
      fields = map(np.stack, zip(*rows, strict=True)) if block else rows[0]
      yield dict(zip(self.info.features, fields, strict=True))

  def _rows(self, split, size):
    """The fields of each scene, in their order."""
    data = dataclasses.replace(self.builder_config.data, **self.glyph_folders)
    for scenes in scenes_lib.compose(data, loading.load_glyphs(data, split), split, 0, size):
      yield from zip(*scenes, strict=True)


def _configs(source, **variants):
  return [
    SceneConfig(
      name=name,
      description=description,
      data=dataclasses.replace(_DEFAULT, source=source, **changes),
    )
    for name, (description, changes) in variants.items()
  ]


_DISJOINT = 'Objects at native size; no two boxes overlap.'


class MultiDigits(_Scenes):
  """LabelledScenes of 0-2 of the handwritten digits that scikit-learn ships, enlarged to 20 pixels."""

  BUILDER_CONFIGS = _configs('digits', disjoint=(_DISJOINT, {}))
  citation = 'E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.'
  license = 'CC BY 4.0'


class MultiMnist(_Scenes):
  """LabelledScenes of handwritten digits of MNIST; test scenes are of MNIST's test digits."""

  BUILDER_CONFIGS = _configs(
    'mnist',
    disjoint=(_DISJOINT, {}),
    touching=('Shrunk by N(1.3, 0.1); ink may touch.', {'layout': 'touching'}),
    small=('Digits at half size.', {'min_scale': 0.5, 'max_scale': 0.5}),
    sizes=('Digits at 0.4 to 1.3 of their size.', {'min_scale': 0.4, 'max_scale': 1.3}),
    many=('0-6 digits on 80x80.', {'canvas_size': 80, 'max_objects': 6}),
    noisy=('Over textures, with noise.', {'background': 'texture', 'noise': 0.05}),
  )
  citation = 'Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits.'
  license = 'CC BY-SA 3.0'


class Sprites(_Scenes):
  """LabelledScenes of 0-2 circles, squares and triangles, as in Eslami et al., arXiv:1603.08575."""

  BUILDER_CONFIGS = _configs(
    'sprites', colour=('In six colours.', {'colour': True}), grey=('White on black.', {})
  )
  citation = 'S. M. A. Eslami et al., Attend, Infer, Repeat, NIPS 2016.'
  license = 'Apache 2.0'


class MultiOmniglot(_Scenes):
  """LabelledScenes of 0-2 characters of Omniglot; every fifth alphabet is held out for test scenes."""

  BUILDER_CONFIGS = _configs('omniglot', disjoint=(_DISJOINT, {}))
  citation = 'B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum, Science 350(6266), 2015.'
  license = 'MIT'


class MultiDsprites(_Scenes):
  """LabelledScenes of 0-2 squares, ellipses and hearts, of many sizes and at all angles."""

  BUILDER_CONFIGS = _configs(
    'dsprites', disjoint=('0.7 to 1.3 of 16 pixels.', {'min_scale': 0.7, 'max_scale': 1.3})
  )
  citation = 'L. Matthey et al., dSprites: disentanglement testing sprites dataset, 2017.'
  license = 'Apache 2.0'


BUILDERS = {
  'digits': MultiDigits,
  'mnist': MultiMnist,
  'omniglot': MultiOmniglot,
  'sprites': Sprites,
  'dsprites': MultiDsprites,
}


def for_config(data):
  """The builder of a configuration's scenes, whose records of blocks lie in its cache folder.

  Args:
    data: `DataConfig` of a source that is composed.

  Returns:
    a builder, perhaps not prepared yet.
  """
  parts = [
    loading.fingerprint(data, loading.load_glyphs(data, split), split, size)[:12]
    for split, size in (('train', data.train_scenes), ('test', data.test_scenes))
  ]
  given = SceneConfig(name='_'.join(['scenes', *parts]), data=data, block=batches.BLOCK)
  return make(BUILDERS[data.source], given, loading.cache_folder(data) / 'tfds')


def make(cls, config, data_dir):
  """A builder of a configuration that its class does not list.

  Args:
    cls: one of `BUILDERS`.
    config: `SceneConfig`.
    data_dir: folder of its records; None is TFDS's own.
  """
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)  # TFDS warns that it is not listed
  try:
    return cls(config=config, data_dir=data_dir, file_format='array_record')
  finally:
    logging.set_verbosity(verbosity)


def prepare(builder):
  """Builds a data set unless it is there; what an interruption left is begun anew.

  Args:
    builder: from `for_config`, or by its class.

  Raises:
    UserError: its glyphs cannot be had, or it cannot be written.
  """
  if builder.is_prepared():
    return
  folder = builder.data_path.parent
  for left in folder.glob(f'incomplete.*_{builder.data_path.name}'):
    if time.time() - os.path.getmtime(left) > _ABANDONED:  # else another process may be at it
      shutil.rmtree(left, ignore_errors=True)
  try:
    builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )
  except UserError:
    raise
  except Exception as error:  # TFDS and array_record have many
    if builder.is_prepared():  # another program built the same meanwhile
      builder.info.read_from_directory(builder.data_path)
      return
    raise UserError(
      f'{builder.info.full_name} cannot be built in {folder} ({type(error).__name__}: {error}); '
      'once that is mended, the same command builds it'
    ) from error
