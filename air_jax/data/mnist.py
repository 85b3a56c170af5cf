"""MNIST (Y. LeCun): handwritten digits of 28x28 pixels, from its four IDX files."""

import gzip
import math
import pathlib
import zlib

import numpy as np
from jaxtyping import UInt8

from air_jax.data.glyphs import SIZE, File, Glyphs, GlyphSource
from air_jax.errors import UserError

IDX_FILES = {
  'train': ('train-images-idx3-ubyte.gz', 'train-labels-idx1-ubyte.gz'),
  'test': ('t10k-images-idx3-ubyte.gz', 't10k-labels-idx1-ubyte.gz'),
}
_NAMES = [name for names in IDX_FILES.values() for name in names]
_URL = 'https://storage.googleapis.com/cvdf-datasets/mnist/'


def read(folder: pathlib.Path, split: str) -> Glyphs:
  """Reads the digits of a split.

  Args:
    folder: holds the four IDX files.
    split: 'train' or 'test'.

  Raises:
    UserError: a file is missing or damaged.
  """
  if not folder.is_dir():
    raise UserError(
      f'data.mnist_dir={str(folder)!r} is not a folder; it must hold {", ".join(_NAMES)}'
    )
  missing = [name for name in _NAMES if not (folder / name).is_file()]
  if missing:
    raise UserError(
      f'data.mnist_dir={str(folder)!r} lacks {", ".join(missing)}; it must hold {", ".join(_NAMES)}'
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


def read_idx(path: pathlib.Path, dimensions: int) -> UInt8[np.ndarray, '...']:
  """Reads a gzipped IDX file of bytes: a magic number, big-endian sizes, then the data.

  Args:
    path: the file.
    dimensions: number of axes its array must have.

  Raises:
    UserError: the file is not gzip, is truncated, or is not an IDX file with that many axes.
  """
  try:
    raw = gzip.decompress(path.read_bytes())
  except (OSError, EOFError, zlib.error) as error:
    raise UserError(f'{path} cannot be read as gzip ({error}); is it truncated?') from error
  header = 4 + 4 * dimensions
  if len(raw) < header or raw[:4] != bytes([0, 0, 8, dimensions]):
    raise UserError(
      f'{path} is not an IDX file of bytes with {dimensions} axes: '
      f'it starts with {raw[:4].hex() or "nothing"}, not 000008{dimensions:02x}'
    )
  shape = tuple(np.frombuffer(raw, '>i4', dimensions, offset=4).tolist())
  if min(shape) < 0 or len(raw) - header != math.prod(shape):
    raise UserError(f'{path} says it holds {shape} bytes but {len(raw) - header} follow')
  return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


SOURCE = GlyphSource(
  read=read,
  about="handwritten digits of MNIST; test scenes are of MNIST's test digits",
  citation='Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits.',
  license='CC BY-SA 3.0',
  folder_key='mnist_dir',
  files=(
    File(
      f'{_URL}train-images-idx3-ubyte.gz',
      9912422,
      '440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609',
    ),
    File(
      f'{_URL}train-labels-idx1-ubyte.gz',
      28881,
      '3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c',
    ),
    File(
      f'{_URL}t10k-images-idx3-ubyte.gz',
      1648877,
      '8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6',
    ),
    File(
      f'{_URL}t10k-labels-idx1-ubyte.gz',
      4542,
      'f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6',
    ),
  ),
)
