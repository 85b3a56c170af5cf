"""A large picture as the model paints it, put together from its views."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from air_jax.evaluation import familiarity, residuals
from air_jax.inference.parsed_scenes import ParsedScenes
from air_jax.runtime import strips

_MANY = 0.5  # share of the views that are unlike held-out ones, from which the picture is


class Judged(NamedTuple):
  """How well a picture is explained."""

  ink_explained: float  # in [0, 1]
  elbo: float  # nats, mean over views
  elbo_rank: float  # in [0, 1], mean over views
  unlike: bool
  regions: Int[np.ndarray, 'H W']  # that are not explained: i + 1 in region i, 0 elsewhere


class Mosaic:
  """Takes each pixel from the view in which it lies deepest."""

  def __init__(
    self,
    picture: UInt8[np.ndarray, 'H W C'],
    size: int,
    starts: tuple[Int[np.ndarray, ' V'], Int[np.ndarray, ' W']],
  ):
    """Starts with no view.

    Args:
      picture: at the scale of the views.
      size: side of a view, pixels.
      starts: the tops and the lefts of the views, which overlap.
    """
    self._picture = picture
    self._canvas, self._background = np.zeros_like(picture), np.zeros_like(picture)
    self._rows, self._columns = (_spans(each, size) for each in starts)
    self._elbos: list[float] = []
    self._ranks: list[float] = []
    self._unlike: list[bool] = []

  def add(self, scenes: ParsedScenes, corners: Sequence[tuple[int, int]]) -> None:
    """Adds views with these (top, left) corners."""
    for i, (top, left) in enumerate(corners):
      rows, columns = self._rows[top], self._columns[left]
      place = (
        slice(top + rows.start, top + rows.stop),
        slice(left + columns.start, left + columns.stop),
      )
      self._canvas[place] = _bytes(scenes.canvases[i, rows, columns])
      self._background[place] = _bytes(scenes.backgrounds[i, rows, columns])
    self._elbos += scenes.elbo.tolist()
    self._ranks += scenes.elbo_ranks.tolist()
    self._unlike += scenes.unlike.tolist()

  def judge(
    self,
    labels: Int[np.ndarray, 'H W'],
    kept: Sequence[int],
    shape: tuple[int, int],
    noise: float,
    reference: familiarity.Reference | None,
  ) -> Judged:
    """Says how well the picture is explained.

    Args:
      labels: i + 1 is object i of those that some views found, 0 the background.
      kept: the objects that are reported; nothing explains the pixels of the others.
      shape: (height, width) of the picture without what was added to fill a view.
      noise: see `residuals.ink_explained`.
      reference: what held-out views are like; without it there are no regions.
    """
    height, width = shape
    refused = np.ones(int(labels.max(initial=0)) + 1, bool)
    refused[0] = False
    refused[np.array(kept, int) + 1] = False
    off = np.zeros(shape, bool)
    ink = left = 0.0
    for rows in strips.of(labels[:height]):
      picture, canvas, background = (
        each[rows, :width] / np.float32(255)
        for each in (self._picture, self._canvas, self._background)
      )
      painted = np.where(refused[labels[rows, :width]][..., None], background, canvas)
      ink += float(residuals.ink_beyond(picture, background, noise))
      left += float(residuals.ink_beyond(picture, painted, noise))
      if reference is not None:
        off[rows] = residuals.off(self._picture[rows, :width], painted, reference.level)
    regions = np.zeros(shape, np.uint16)
    if reference is not None:
      regions = residuals.regions(off, reference.area)
    return Judged(
      ink_explained=float(residuals.share_of_ink(ink, left)),
      elbo=float(np.mean(self._elbos)),
      elbo_rank=float(np.mean(self._ranks)),
      unlike=bool(np.mean(self._unlike) >= _MANY),
      regions=regions,
    )


def _spans(starts: Int[np.ndarray, ' V'], size: int) -> dict[int, slice]:
  """Of each view along a side the pixels that lie no deeper in another: half of each overlap."""
  borders = (starts[1:] + starts[:-1] + size) // 2
  firsts, lasts = np.concatenate([starts[:1], borders]), np.append(borders, starts[-1] + size)
  return {
    start: slice(first - start, last - start)
    for start, first, last in zip(starts.tolist(), firsts.tolist(), lasts.tolist(), strict=True)
  }


def _bytes(canvas: np.ndarray) -> UInt8[np.ndarray, 'H W C']:
  return np.round(255 * np.clip(np.nan_to_num(canvas), 0, 1)).astype(np.uint8)
