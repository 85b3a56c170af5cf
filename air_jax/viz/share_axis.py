"""A logarithmic axis for shares, such as that of miscounted scenes, which may also be 0."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from air_jax.viz.backend import Axes

_LEAST, _MOST_TICKS = 1e-6, 10
_TICKS = tuple(m * 10.0**e for e in range(-6, 0) for m in (1, 2, 5)) + (1.0,)


def apply(axis: Axes, shares: Iterable[float], chance: float | None = None) -> None:
  """Makes the y-axis logarithmic, in percent; a tick at the bottom stands for 0.

  Args:
    axis: with curves of `drawable` shares.
    shares: all that are drawn, in [0, 1].
    chance: the share of always giving the commonest answer, drawn as a dotted line; None for none.
  """
  drawn = [*shares, *([] if chance is None else [chance])]
  shown = np.array([share for share in drawn if share > 0] or [0.1])
  low = max(tick for tick in _TICKS if tick <= shown.min() * (1 + 1e-9))
  high = min(tick for tick in _TICKS if tick >= shown.max() * (1 - 1e-9))
  ticks = [tick for tick in _TICKS if low <= tick <= high]
  if len(ticks) > _MOST_TICKS:
    ticks = [tick for tick in ticks if f'{tick:e}'.startswith('1')]
  labels = [f'{100 * tick:g} %' for tick in ticks]
  zero, bottom = low / 3, low
  if any(share <= 0 for share in drawn):
    bottom = zero
    ticks, labels = [zero, *ticks], ['0 %', *labels]
    for line in axis.lines:
      line.set_ydata([share if share != 0 else zero for share in np.asarray(line.get_ydata())])
  if chance is not None:
    axis.axhline(
      chance or zero, color='black', linestyle=(0, (1, 2)), linewidth=1.4,
      label='always the commonest count',
    )  # fmt: skip
  axis.set_ylim(bottom / 1.2, high * 1.2)  # first: a logarithmic axis has no limits for NaN
  axis.set_yscale('log')
  axis.set_yticks(ticks, labels)
  axis.set_yticks([], minor=True)


def drawable(shares: Iterable[float]) -> Float[np.ndarray, ' N']:
  """Shares within [0, 1], those below 1e-6 as 0; NaN, as from a damaged file, stays."""
  clipped = np.clip(np.array([*shares], np.float64), 0, 1)
  return np.where(clipped < _LEAST, 0.0, clipped)
