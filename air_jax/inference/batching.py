"""Any number of rows through a jitted function, in batches of few shapes."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

_Tree = TypeVar('_Tree')


def split(tree: _Tree, size: int) -> list[_Tree]:
  """Parts of at most `size` rows; an empty tree is one part."""
  rows = len(jax.tree.leaves(tree)[0])

  def part(start: int) -> _Tree:
    return jax.tree.map(lambda x: x[start : start + size], tree)

  return [part(start) for start in range(0, max(rows, 1), max(size, 1))]


def in_batches(function: Callable, tree: Any, size: int) -> Any:
  """Applies a jitted function to parts, each padded to a power of 2: few shapes are compiled."""

  def apply(part: Any) -> Any:
    rows = len(jax.tree.leaves(part)[0])
    padding = (1 << max(rows - 1, 0).bit_length()) - rows

    def pad(x: np.ndarray) -> np.ndarray:
      return np.concatenate([x, np.zeros((padding, *x.shape[1:]), x.dtype)])

    return jax.tree.map(
      lambda x: np.array(x[:rows]), jax.device_get(function(jax.tree.map(pad, part)))
    )

  return join([apply(part) for part in split(tree, size)])


def join(parts: list[_Tree]) -> _Tree:
  """The rows of all parts in one tree."""
  if len(parts) == 1:
    return parts[0]
  return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
