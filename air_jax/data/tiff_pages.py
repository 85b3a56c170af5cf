"""TIFF files: which pages are pictures, and the values of a page.

Greys and colours of every depth are read by tifffile. What it has no decoder for, such as JPEG in
TIFF, and palettes, CMYK and bits that are packed, are read by Pillow.
"""

import os

import numpy as np
from jaxtyping import Shaped
from PIL import UnidentifiedImageError

from air_jax.data import pictures
from air_jax.runtime import extras, memory

with extras.needed('tiff', 'reading TIFF files'):
  import tifffile

_COPIES = 4  # of a page's bytes that reading and scaling may hold
_GREY_OR_RGB = (0, 1, 2)  # values of PhotometricInterpretation: white is zero, black is zero, RGB
_ASSOCIATED, _ALPHA = 1, 2  # values of ExtraSamples
_NO_PICTURE = 5  # bits of NewSubfileType: a reduced copy, a mask
_ORIENTATION = 274  # a tag
_TURNS = {  # by orientation: (transpose, flip rows, flip columns), in this order
  2: (False, False, True),
  3: (False, True, True),
  4: (False, True, False),
  5: (True, False, False),
  6: (True, False, True),
  7: (True, True, True),
  8: (True, True, False),
}


def pages(path: str | os.PathLike) -> list[int]:
  """Indices of the pages that are pictures: not those of masks and of reduced copies.

  Raises:
    Exception: of nearly any type, for a damaged file.
  """
  with tifffile.TiffFile(path) as file:
    found = [i for i, page in enumerate(file.pages) if not _subfiletype(page) & _NO_PICTURE]
  return found or [0]


def read(path: str | os.PathLike, index: int) -> Shaped[np.ndarray, 'H W C']:
  """The upright values of a page, as `pictures.values` but with any number of channels C.

  Raises:
    UserError: the page needs more memory than there is.
    Exception: of nearly any type, for a damaged file.
  """
  with tifffile.TiffFile(path) as file:
    page = file.pages[index]
    assert isinstance(page, tifffile.TiffPage)
    memory.check('it', _bytes(page), memory.of_machine() // 2, 'half of it may be used')
    if _is_plain(page):
      return _upright(_values(page), page)
    kind = f'{page.bitspersample} bits, {_named(page.compression)}, {_named(page.photometric)}'
  try:
    with pictures.any_size(), pictures.open_header(path) as picture:
      picture.seek(index)
      return pictures.values(picture)
  except UnidentifiedImageError as error:
    raise ValueError(f'this kind of TIFF is not read: {kind}') from error


def _named(value: int) -> str:
  """The name of a constant of tifffile, or its number where that is unknown."""
  return str(getattr(value, 'name', value))


def _subfiletype(page: tifffile.TiffPage | tifffile.TiffFrame) -> int:
  assert isinstance(page, tifffile.TiffPage)  # frames have to be asked for
  return int(page.subfiletype or 0)


def _bytes(page: tifffile.TiffPage) -> int:
  """What decoding a page may take; a tile may be larger than the page that it belongs to."""
  pixels = max(
    page.imagewidth * page.imagelength * page.imagedepth, page.tilewidth * page.tilelength
  )
  return _COPIES * pixels * page.samplesperpixel * max(1, page.bitspersample // 8)


def _is_plain(page: tifffile.TiffPage) -> bool:
  """Whether tifffile decodes a page into numbers that mean brightness."""
  return (
    page.photometric in _GREY_OR_RGB
    and page.dtype is not None
    and page.dtype.kind in 'uif'
    and page.bitspersample == 8 * page.dtype.itemsize
    and page.compression in tifffile.TIFF.DECOMPRESSORS
    and page.predictor in tifffile.TIFF.UNPREDICTORS
  )


def _values(page: tifffile.TiffPage) -> np.ndarray:
  """The values of a page as stored, over black where it is transparent."""
  array = page.asarray(squeeze=False)  # [planes, depth, H, W, samples]
  if array.ndim != 5 or array.shape[1] != 1:
    raise ValueError('it holds a volume; only pages of two dimensions are read')
  array = np.moveaxis(array[:, 0], 0, -2).reshape(*array.shape[2:4], -1)
  wide = array.dtype.kind == 'u' and array.dtype.itemsize <= 2
  array = array.astype(array.dtype.newbyteorder('=') if wide else np.float32, copy=False)
  if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and wide:
    array = np.iinfo(array.dtype).max - array
  colours = 3 if page.photometric == tifffile.PHOTOMETRIC.RGB else 1
  kinds = page.extrasamples
  if colours == 1 and kinds not in ((_ASSOCIATED,), (_ALPHA,)):
    return array
  shown = array[..., :colours]
  if _ALPHA in kinds:
    alpha = array[..., colours + kinds.index(_ALPHA)]
    opaque = np.iinfo(array.dtype).max if wide else 1
    scaled = [shown[..., c] * (alpha / np.float32(opaque)) for c in range(colours)]
    shown = np.stack([np.rint(x).astype(array.dtype) if wide else x for x in scaled], -1)
  return shown


def _upright(array: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
  orientation = page.tags.valueof(_ORIENTATION, 1)
  transpose, *flips = _TURNS.get(orientation, (False, False, False))
  array = array.swapaxes(0, 1) if transpose else array
  return np.ascontiguousarray(np.flip(array, tuple(axis for axis in (0, 1) if flips[axis])))
