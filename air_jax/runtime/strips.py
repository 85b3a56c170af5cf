"""Large arrays a strip of rows at a time: copies of all of it would take many times its memory."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int, Shaped

_VALUES = 1 << 20  # of a strip, about


def of(array: Shaped[np.ndarray, '...']) -> Iterator[slice]:
  """The rows of each strip."""
  rows = max(1, _VALUES // max(1, array[:1].size))
  for top in range(0, len(array), rows):
    yield slice(top, min(top + rows, len(array)))


def count(values: Int[np.ndarray, '...'], length: int) -> Int[np.ndarray, ' L']:
  """How often each of 0 .. length - 1 is among values, none of which is another."""
  total = np.zeros(length, np.int64)
  for rows in of(values):
    total += np.bincount(values[rows].reshape(-1), minlength=length)
  return total


def look_up(
  table: Shaped[np.ndarray, ' L'], values: Int[np.ndarray, '...']
) -> Shaped[np.ndarray, '...']:
  """`table[values]`."""
  found = np.empty(values.shape, table.dtype)
  for rows in of(values):
    np.take(table, values[rows], out=found[rows], mode='clip')  # the fastest mode
  return found


def resize(labels: Int[np.ndarray, 'h w'], shape: tuple[int, int]) -> Int[np.ndarray, 'H W']:
  """A label image of another (height, width), by nearest neighbours."""
  rows, columns = (
    (np.arange(to) + 0.5) * side / to for side, to in zip(labels.shape, shape, strict=True)
  )
  result = np.empty(shape, labels.dtype)
  across = columns.astype(int)
  for row, at in zip(result, rows.astype(int), strict=True):
    row[:] = labels[at][across]
  return result
