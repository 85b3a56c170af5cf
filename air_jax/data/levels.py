"""Levels: which values of a picture become black and white, given or measured."""

from collections.abc import Iterable

import numpy as np
from absl import logging
from jaxtyping import Int, Shaped, UInt8

from air_jax.runtime import strips

# Of all pixels, the fraction below black and the one below white, in percent. Of the pixels of
# fluorescent nuclei, white at 99.8 clips 1 in 100 and at 99 one in 20.
PERCENTILES = 1.0, 99.8
DIM = 0.07  # of the range from black to white; 12 bits in a file of 16 use 0.0625
_SAMPLE = 1 << 22  # pixels of all pictures together that are measured


def to_bytes(
  values: Shaped[np.ndarray, 'H W C'],
  levels: tuple[float, ...] = (),
  invert: bool = False,
  gamma: float = 1.0,
) -> UInt8[np.ndarray, 'H W C']:
  """Scales values to 0..255, and clips those outside the levels.

  Args:
    values: uint8, uint16 or float32; what is not a number becomes black.
    levels: (low, high), the values that become 0 and 255; () is `full_range`.
    invert: whether bright becomes dark; the levels come first.
    gamma: power of the result in [0, 1].
  """
  if values.dtype == np.uint8 and not levels and not invert and gamma == 1:
    return values
  low, high = levels or full_range(values)
  table = None
  if values.dtype.kind == 'u':
    table = _scaled(np.arange(np.iinfo(values.dtype).max + 1), low, high, invert, gamma)
  if table is not None:
    return strips.look_up(table, values)
  result = np.empty(values.shape, np.uint8)
  for rows in strips.of(values):
    result[rows] = _scaled(values[rows], low, high, invert, gamma)
  return result


def _scaled(
  values: np.ndarray, low: float, high: float, invert: bool, gamma: float
) -> UInt8[np.ndarray, '...']:
  finite = np.nan_to_num(values.astype(np.float64), nan=low)
  shares = (np.clip(finite, low, high) - low) / (high - low)
  return np.round(255 * (1 - shares if invert else shares) ** gamma).astype(np.uint8)


def full_range(values: Shaped[np.ndarray, 'H W C']) -> tuple[float, float]:
  """The levels of a picture for which none are given: (0, white).

  White is 255 for 8 bits and 65,535 for 16. For 32 bits and floats it is 1 where no value is
  larger, else 255 where none is larger, else the largest value of the picture.
  """
  if values.dtype.kind == 'u':
    return 0, int(np.iinfo(values.dtype).max)
  peak = max((float(row[np.isfinite(row)].max(initial=0)) for row in values), default=0)
  return 0, next((white for white in (1, 255) if peak <= white), peak)


def sample(values: Shaped[np.ndarray, 'H W C'], pictures: int) -> Shaped[np.ndarray, ' M']:
  """Finite values of one of so many pictures, drawn at random but always the same."""
  most = max(16, _SAMPLE // pictures)
  flat = values.reshape(-1)
  if flat.size > most:
    flat = flat[np.random.default_rng(0).integers(flat.size, size=most)]
  return flat[np.isfinite(flat)]


def measure(samples: Shaped[np.ndarray, ' M']) -> tuple[float, ...]:
  """The levels of pictures by `PERCENTILES` of what `sample` drew from all of them.

  Returns:
    (low, high) with six digits, low < high; () where all values are the same.
  """
  if not samples.size:
    return ()
  for percentiles in (PERCENTILES, (0.0, 100.0)):  # the second where nearly all is background
    found = np.percentile(samples.astype(np.float64), percentiles, method='nearest')
    low, high = (float(f'{x:.6g}') for x in found)
    if low < high:
      return low, high
  return ()


def histogram(images: Iterable[UInt8[np.ndarray, 'S S C']]) -> Int[np.ndarray, '256']:
  """How many values 0..255 images have."""
  counted = (strips.count(image, 256) for image in images)
  return sum(counted, np.zeros(256, np.int64))


def warn_if_dim(values: Int[np.ndarray, '256'], what: str) -> None:
  """Warns of images that differ hardly in brightness, as those of 12 bits in a file of 16 do.

  Args:
    values: their `histogram`.
    what: where they are, for the message.
  """
  below = values.cumsum() / max(1, values.sum())
  low, high = (int(np.searchsorted(below, quantile)) for quantile in (2e-4, 1 - 2e-4))
  if high - low < DIM * 255:
    logging.warning(
      'the images of %s use %.1f %% of the range from black to white: data.levels=(low, high) sets '
      'which values become black and white, data.stretch=True measures them',
      what, 100 * (high - low) / 255,
    )  # fmt: skip
