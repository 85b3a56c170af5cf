"""What scenes are made of: handwritten digits and characters of [M, 28, 28], by split.

Every source yields the format of MNIST (Y. LeCun): ink from 0 to 255, a digit of about 20 pixels in
the middle of 28, so that a rule of composition need not know where its digits came from.
"""

import gzip
import pathlib
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from air_jax.errors import UserError

SIZE = 28  # side of a glyph, pixels
_TEST_SHARE = 0.2  # of the embedded digits
IDX_FILES = {
  'train': ('train-images-idx3-ubyte.gz', 'train-labels-idx1-ubyte.gz'),
  'test': ('t10k-images-idx3-ubyte.gz', 't10k-labels-idx1-ubyte.gz'),
}


class Glyphs(NamedTuple):
  """Pictures to place on canvases."""

  images: np.ndarray  # [M, SIZE, SIZE] uint8
  labels: np.ndarray  # [M] int32


def load(source, split, folder=None):
  """Loads the glyphs of one split; the splits share none.

  Args:
    source: 'digits' (embedded in scikit-learn), 'mnist' or 'omniglot'.
    split: 'train' or 'test'.
    folder: path of the four IDX files of MNIST, or of Omniglot's images_background*.zip.

  Returns:
    `Glyphs`.

  Raises:
    UserError: the files are not where they were said to be, or not what they should be.
  """
  if source == 'digits':
    return _embedded(split)
  if source == 'mnist':
    return _from_idx(folder, split)
  from air_jax.data import omniglot

  return omniglot.read(folder, split)


def _embedded(split):
  """The 1,797 digits of 8x8 that scikit-learn ships (E. Alpaydin, C. Kaynak), enlarged to 20."""
  from sklearn import datasets  # takes a second to import, and only this source needs it

  digits = datasets.load_digits()
  order = np.random.default_rng(0).permutation(len(digits.images))
  test_size = int(_TEST_SHARE * len(order))
  chosen = order[:test_size] if split == 'test' else order[test_size:]
  images = np.zeros((len(chosen), SIZE, SIZE), np.uint8)
  for image, small in zip(images, digits.images[chosen], strict=True):
    ink = Image.fromarray((small * (255 / 16)).astype(np.uint8))
    image[4:24, 4:24] = ink.resize((20, 20), Image.Resampling.BICUBIC)
  images[images < 16] = 0  # the ringing of the bicubic kernel is not ink
  return Glyphs(images, digits.target[chosen].astype(np.int32))


def _from_idx(folder, split):
  if not folder.is_dir():
    raise UserError(f'data.mnist_dir={str(folder)!r} is not a folder; it must hold {_expected()}')
  missing = [n for names in IDX_FILES.values() for n in names if not (folder / n).is_file()]
  if missing:
    raise UserError(
      f'data.mnist_dir={str(folder)!r} lacks {", ".join(missing)}; it must hold {_expected()}'
    )
  image_name, label_name = IDX_FILES[split]
  images = read_idx(folder / image_name, dimensions=3)
  labels = read_idx(folder / label_name, dimensions=1)
  if images.shape[1:] != (SIZE, SIZE) or len(images) != len(labels) or not len(images):
    raise UserError(
      f'{folder / image_name} holds an array of shape {images.shape} and {label_name} '
      f'{len(labels)} labels; expected as many labels as images of {SIZE}x{SIZE}'
    )
  return Glyphs(images, labels.astype(np.int32))


def read_idx(path, dimensions):
  """Reads a gzipped IDX file of bytes: a magic number, big-endian sizes, then the data.

  Args:
    path: the file.
    dimensions: how many axes its array must have.

  Returns:
    uint8 array.

  Raises:
    UserError: the file is no gzip, truncated, or no IDX file of that many axes.
  """
  try:
    raw = gzip.decompress(pathlib.Path(path).read_bytes())
  except (OSError, EOFError, zlib.error) as error:
    raise UserError(f'{path} cannot be read as gzip ({error}); is it truncated?') from error
  header = 4 + 4 * dimensions
  if len(raw) < header or raw[:4] != bytes([0, 0, 8, dimensions]):
    raise UserError(
      f'{path} is not an IDX file of bytes with {dimensions} axes: '
      f'it starts with {raw[:4].hex() or "nothing"}, not 000008{dimensions:02x}'
    )
  shape = tuple(np.frombuffer(raw, '>i4', dimensions, offset=4).tolist())
  if len(raw) - header != np.prod(shape, dtype=np.int64):
    raise UserError(f'{path} says it holds {shape} bytes but {len(raw) - header} follow')
  return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def _expected():
  return ', '.join(name for names in IDX_FILES.values() for name in names)
