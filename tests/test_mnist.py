"""MNIST from a folder of IDX files, sound or damaged."""

import gzip

import numpy as np
import pytest
import samples

from air_jax.data import mnist
from air_jax.errors import UserError

MNIST_LABELS = {
  'train': [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
  'test': [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


def test_idx_files_give_back_what_was_written(tmp_path):
  arrays = samples.write_idx(tmp_path)
  for split, (images, labels) in arrays.items():
    read = mnist.read(tmp_path, split)
    np.testing.assert_array_equal(read.images, images)
    np.testing.assert_array_equal(read.labels, labels)
    assert read.images.dtype == np.uint8 and read.labels.dtype == np.int32


@pytest.mark.parametrize('split', ['train', 'test'])
def test_mnist_has_its_known_labels(mnist_dir, split):
  images, labels = mnist.read(mnist_dir, split)
  assert images.shape == (sum(MNIST_LABELS[split]), 28, 28)
  assert np.bincount(labels).tolist() == MNIST_LABELS[split]


def test_missing_mnist_folder_is_named(tmp_path):
  with pytest.raises(UserError, match=r'data\.mnist_dir=.*nowhere.*t10k-labels-idx1-ubyte\.gz'):
    mnist.read(tmp_path / 'nowhere', 'train')


def test_missing_mnist_file_is_named_whatever_the_split(tmp_path):
  samples.write_idx(tmp_path)
  (tmp_path / 'train-labels-idx1-ubyte.gz').unlink()
  for split in ('train', 'test'):
    with pytest.raises(UserError, match=r'lacks train-labels-idx1-ubyte\.gz;'):
      mnist.read(tmp_path, split)


def damaged_idx():
  """Names of ways to spoil the file of training images, and what it then holds."""
  images = np.arange(5 * 28 * 28).astype(np.uint8).reshape(5, 28, 28)
  good = samples.idx_bytes(images)
  packed = bytearray(gzip.compress(good))
  packed[10] = 255  # no kind of deflate block
  return {
    'truncated': gzip.compress(good)[:-12],
    'empty': b'',
    'one byte changed': bytes(packed),
    'not gzip': good,
    'not IDX': gzip.compress(b'<html>404</html>'),
    'an IDX file of labels': gzip.compress(samples.idx_bytes(images[:, 0, 0])),
    'an IDX file of floats': gzip.compress(bytes([0, 0, 13]) + good[3:]),
    'header cut': gzip.compress(good[:9]),
    'too few bytes': gzip.compress(good[:-1]),
    'too many bytes': gzip.compress(good + b'\0'),
    'fewer images than labels': gzip.compress(samples.idx_bytes(images[:4])),
    'images of another size': gzip.compress(samples.idx_bytes(images[:, :27])),
  }


@pytest.mark.parametrize('damage', damaged_idx())
def test_damaged_mnist_file_is_named(tmp_path, damage):
  samples.write_idx(tmp_path)
  (tmp_path / 'train-images-idx3-ubyte.gz').write_bytes(damaged_idx()[damage])
  with pytest.raises(UserError, match=r'/train-images-idx3-ubyte\.gz '):
    mnist.read(tmp_path, 'train')
