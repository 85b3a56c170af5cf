"""MNIST through tensorflow-datasets, without TensorFlow (TFDS's own `mnist` needs it)."""

import numpy as np
import requests
import tensorflow_datasets as tfds

from air_jax.data import glyphs
from air_jax.errors import UserError

_MIRROR = 'https://storage.googleapis.com/cvdf-datasets/mnist/'
_INSTEAD = 'give a folder that holds the four IDX .gz files with --config.data.mnist_dir=FOLDER'
_TIMEOUT = 5.0  # seconds; TFDS itself retries for minutes before it gives up


class AirMnist(tfds.core.GeneratorBasedBuilder):
  """The 60,000 + 10,000 handwritten digits of MNIST, as 28x28 bytes."""

  VERSION = tfds.core.Version('1.0.0')
  mirror = _MIRROR

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self,
      description='Handwritten digits of 28x28 pixels, ink from 0 to 255.',
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Tensor(shape=(glyphs.SIZE, glyphs.SIZE), dtype=np.uint8),
          'label': tfds.features.Scalar(dtype=np.int32),
        }
      ),
      homepage='http://yann.lecun.com/exdb/mnist/',
      citation='Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits.',
      license='CC BY-SA 3.0',
    )

  def _split_generators(self, dl_manager):
    urls = {split: [self.mirror + n for n in names] for split, names in glyphs.IDX_FILES.items()}
    return {
      split: self._generate_examples(*paths) for split, paths in dl_manager.download(urls).items()
    }

  def _generate_examples(self, image_path, label_path):
    images = glyphs.read_idx(image_path, dimensions=3)
    labels = glyphs.read_idx(label_path, dimensions=1)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
      yield i, {'image': image, 'label': label}


def load(split, builder=None):
  """Reads one split, which is downloaded and prepared on first use.

  Args:
    split: 'train' or 'test'.
    builder: an `AirMnist`; by default one that keeps its records where TFDS keeps all of them.

  Returns:
    ([M, 28, 28] uint8 images, [M] int32 labels).

  Raises:
    UserError: it is not prepared yet, and cannot be: there is no network, say.
  """
  builder = builder or AirMnist(file_format='array_record')
  if not builder.is_prepared():
    _check_network(builder.mirror)
    try:
      builder.download_and_prepare()
    except Exception as error:  # TFDS has many, of its own and of the libraries below
      raise UserError(f'MNIST cannot be prepared ({error}); {_INSTEAD}') from error
  source = builder.as_data_source(split)
  images = np.zeros((len(source), glyphs.SIZE, glyphs.SIZE), np.uint8)
  labels = np.zeros(len(source), np.int32)
  for i, example in enumerate(source):
    images[i], labels[i] = example['image'], example['label']
  return images, labels


def _check_network(mirror):
  try:
    requests.head(mirror + glyphs.IDX_FILES['test'][1], timeout=_TIMEOUT).raise_for_status()
  except requests.RequestException as error:
    raise UserError(
      f'MNIST cannot be downloaded from {mirror} ({type(error).__name__}); {_INSTEAD}'
    ) from error
