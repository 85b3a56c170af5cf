"""A large picture as the model paints it, put together from its views."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from air_jax.evaluation import familiarity, residuals
from air_jax.inference.parsed_scenes import ParsedScenes

_MANY = 0.5  # share of the views that are unlike held-out ones, from which the picture is


class Judged(NamedTuple):
  """How well a picture is explained."""

  ink_explained: float  # in [0, 1]
  elbo: float  # nats, mean over views
  elbo_rank: float  # in [0, 1], mean over views
  unlike: bool
  regions: Int32[np.ndarray, 'H W']  # that are not explained: i + 1 in region i, 0 elsewhere


class Mosaic:
  """Takes each pixel from the view in which it lies deepest."""

  def __init__(self, picture: UInt8[np.ndarray, 'H W C'], size: int):
    """Starts with no view.

    Args:
      picture: at the scale of the views.
      size: side of a view, pixels.
    """
    self._picture = picture
    self._canvas, self._background = np.zeros_like(picture), np.zeros_like(picture)
    self._depth = np.zeros(picture.shape[:2], np.int32)
    inwards = np.minimum(np.arange(size), np.arange(size)[::-1]) + 1
    self._own = np.minimum(inwards[:, None], inwards)
    self._elbos: list[float] = []
    self._ranks: list[float] = []
    self._unlike: list[bool] = []

  def add(self, scenes: ParsedScenes, corners: Sequence[tuple[int, int]]) -> None:
    """Adds views with these (top, left) corners."""
    size = len(self._own)
    for i, (top, left) in enumerate(corners):
      place = slice(top, top + size), slice(left, left + size)
      deeper = self._own > self._depth[place]
      self._depth[place][deeper] = self._own[deeper]
      self._canvas[place][deeper] = _bytes(scenes.canvases[i])[deeper]
      self._background[place][deeper] = _bytes(scenes.backgrounds[i])[deeper]
    self._elbos += scenes.elbo.tolist()
    self._ranks += scenes.elbo_ranks.tolist()
    self._unlike += scenes.unlike.tolist()

  def judge(
    self,
    refused: Bool[np.ndarray, 'H W'],
    shape: tuple[int, int],
    noise: float,
    reference: familiarity.Reference | None,
  ) -> Judged:
    """Says how well the picture is explained.

    Args:
      refused: pixels of objects that some views found and that are not reported: nothing explains
        them.
      shape: (height, width) of the picture without what was added to fill a view.
      noise: see `residuals.ink_explained`.
      reference: what held-out views are like; without it there are no regions.
    """
    height, width = shape
    self._canvas[refused] = self._background[refused]
    picture, canvas, background = (
      each[:height, :width] for each in (self._picture, self._canvas, self._background)
    )
    regions = np.zeros(shape, np.int32)
    if reference is not None:
      off = residuals.off(picture, canvas / np.float32(255), reference.level)
      regions = residuals.regions(off, reference.area)
    x, behind, painted = (each / np.float32(255) for each in (picture, background, canvas))
    return Judged(
      ink_explained=float(residuals.ink_explained(x, behind, painted, noise)),
      elbo=float(np.mean(self._elbos)),
      elbo_rank=float(np.mean(self._ranks)),
      unlike=bool(np.mean(self._unlike) >= _MANY),
      regions=regions,
    )


def _bytes(canvas: np.ndarray) -> UInt8[np.ndarray, 'H W C']:
  return np.round(255 * np.clip(np.nan_to_num(canvas), 0, 1)).astype(np.uint8)
