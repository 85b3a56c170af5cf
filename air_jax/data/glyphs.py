"""Glyphs: the small images that scenes are composed of, and what describes a data set of them.

Every data set comes in the format of MNIST: ink from 0 to 255, and a character of about 20 pixels
in the middle of 28. The rules of composition need not know where a glyph came from.
"""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Int, UInt8

SIZE = 28  # side of a glyph, pixels
PADDING = -(2**31)  # label of the rows that `pad` adds
_LEAST = 2048  # rows after `pad`


class Glyphs(NamedTuple):
  """Images to place on a canvas."""

  images: UInt8[Array | np.ndarray, 'M 28 28']
  labels: Int[Array | np.ndarray, ' M']  # int32, `PADDING` where `pad` put no glyph


class File(NamedTuple):
  """A file to download."""

  url: str
  size: int  # bytes
  sha256: str

  @property
  def name(self) -> str:
    """The name it is stored under."""
    return self.url.rpartition('/')[2]


class GlyphSource(NamedTuple):
  """A data set of glyphs; `sources.GLYPHS` lists all of them."""

  read: Callable[[pathlib.Path, str], Glyphs]  # (folder, split) -> glyphs; splits share none
  about: str  # what the glyphs are and how the test split is chosen, as part of a sentence
  citation: str
  license: str
  folder_key: str = ''  # key of section `data` with the folder of its files; '' if it needs none
  files: tuple[File, ...] = ()  # downloaded where that key is ''


def pad(glyphs: Glyphs) -> Glyphs:
  """Adds rows without a glyph up to a power of two, so that splits can share compiled programs."""
  number = max(_LEAST, 1 << max(len(glyphs.labels) - 1, 0).bit_length()) - len(glyphs.labels)
  images = np.pad(np.asarray(glyphs.images), ((0, number), (0, 0), (0, 0)))
  return Glyphs(images, np.pad(np.asarray(glyphs.labels), (0, number), constant_values=PADDING))
