"""Parses pictures larger than the model's canvas: overlapping views, whose objects are merged.

The picture is brought to the scale of the crops that the model was trained on, and every view of it
is parsed by itself. What a view cuts it may miss or find in part, so an object is taken from the
view in which it lies deepest, and kept if enough of the views that hold it have found it.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int32, Shaped, UInt8, UInt16
from scipy import ndimage, spatial

from air_jax.config.sections import DataConfig
from air_jax.data import crops, preparation
from air_jax.errors import UserError
from air_jax.inference import mosaic
from air_jax.inference.parsed_scenes import ParsedScenes
from air_jax.inference.predictor import Model
from air_jax.runtime import strips

_STRIDE = 1 / 3  # of the canvas, from view to view
_MARGIN = 0.12  # of the canvas, how deep in a view the middle of an object must lie
_SAME = 0.3  # IoU of two masks from which they are of the same object
_TAKEN = 0.5  # share of a mask that other objects hold already, above which it is no other object
_SCRAP = 0.05  # of the square of an object's size, an area that is too small for one
_AGREE = 0.5  # share of the views that hold an object, which must have found it
_BATCH = 64  # views at once


class ParsedPicture(NamedTuple):
  """What a model found in a picture of any size: M objects, from top to bottom."""

  labels: Int32[np.ndarray, 'H W']  # 0 is the background, i + 1 is object i
  boxes: Float[np.ndarray, 'M 4']  # of the masks: top, left, height, width in pixels
  scores: Float[np.ndarray, ' M']  # in (0, 1], share of the views that hold it which found it
  codes: Float[np.ndarray, 'M D']  # z_what
  ink_explained: float  # in [0, 1], see `residuals.ink_explained`
  elbo: float  # nats, mean over views
  # Compared with held-out views; NaN, False and 0 where the model has no reference:
  elbo_rank: float  # in [0, 1], mean over views, see `ParsedScenes.elbo_ranks`
  unlike: bool  # whether half of the views or more are unlike held-out ones
  regions: Int[np.ndarray, 'H W']  # that are not explained, as large as an object: i + 1 in
  # region i, 0 elsewhere


class _Found(NamedTuple):
  """An object in a view."""

  depth: float  # see `_Axis`
  corner: tuple[int, int]  # (top, left) of its mask in the picture
  mask: Bool[np.ndarray, 'h w']
  middle: Float[np.ndarray, '2']  # (y, x) of the mask in the picture
  code: Float[np.ndarray, ' D']


class _Axis(NamedTuple):
  """Where views lie along a side of a picture."""

  starts: Int[np.ndarray, ' V']
  side: int  # pixels
  size: int  # of a view, pixels

  def depths(self, place: float) -> Float[np.ndarray, ' V']:
    """Pixels from a place to the nearest end of each view; an end of the picture cuts nothing."""
    before = np.where(self.starts > 0, place - self.starts, self.size)
    ends = self.starts + self.size
    after = np.where(ends < self.side, ends - 1 - place, self.size)
    holds = (place >= self.starts) & (place <= ends)
    return np.where(holds, np.minimum(before, after), -1.0)


def parse_large(
  model: Model,
  picture: Shaped[np.ndarray, 'H W *C'],
  progress: Callable[[int, int], None] = lambda done, number: None,
) -> ParsedPicture:
  """Finds the objects of a picture of any size.

  Args:
    model: trained on crops, `data.object_pixels` > 0.
    picture: in the values of its file, uint8, uint16 or float; the levels of the run are applied.
    progress: is called with how many views are done, of how many.

  Raises:
    UserError: the model was not trained on crops, or `picture` is no such array.
  """
  data = model.config.data
  if not data.object_pixels:
    raise UserError(
      'data.object_pixels=0: the model was trained on whole images; parse_large needs one that was '
      'trained on crops of large ones'
    )
  picture = np.asarray(picture)
  size, scaled = data.canvas_size, crops.to_scale(_pixels(picture, data), data)
  shape = scaled.shape[0], scaled.shape[1]
  missing = [(0, max(0, size - side)) for side in shape]
  scaled = np.pad(scaled, [*missing, (0, 0)], 'edge')
  rows, columns = (_axis(side, size) for side in scaled.shape[:2])
  painted = mosaic.Mosaic(scaled, size, (rows.starts, columns.starts))
  found = _look(model, scaled, rows, columns, painted, progress)
  labels, objects = _merge(found, scaled.shape[:2], _SCRAP * (crops.OBJECT * size) ** 2)
  least = _MARGIN * size

  def score(each: _Object) -> float:
    y, x = each.found.middle
    holding = (rows.depths(y) >= least).sum() * (columns.depths(x) >= least).sum()
    return min(1.0, each.votes / int(holding))

  scores = [*map(score, objects)]
  kept = [i for i, score in enumerate(scores) if score >= _AGREE]
  kept.sort(key=lambda i: tuple(objects[i].found.middle))
  judged = painted.judge(labels, kept, shape, model.noise, model.reference)
  del scaled, painted  # room for the result
  labels = strips.resize(_renumber(labels, kept)[: shape[0], : shape[1]], picture.shape[:2])
  spans = ndimage.find_objects(labels, max_label=len(kept))
  shown = [i for i, span in enumerate(spans) if span is not None]  # others have no pixel there
  boxes = [
    (rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
    for rows, columns in (spans[i] for i in shown)
  ]
  codes = [objects[kept[i]].found.code for i in shown]
  return ParsedPicture(
    labels=_renumber(labels, shown),
    boxes=np.array(boxes, np.float32).reshape(-1, 4),
    scores=np.array([scores[kept[i]] for i in shown], np.float32),
    codes=np.array(codes, np.float32).reshape(len(shown), -1 if shown else 0),
    ink_explained=judged.ink_explained,
    elbo=judged.elbo,
    elbo_rank=judged.elbo_rank,
    unlike=judged.unlike,
    regions=strips.resize(judged.regions, picture.shape[:2]),
  )


def _pixels(picture: np.ndarray, data: DataConfig) -> UInt8[np.ndarray, 'H W C']:
  """The picture in the levels and channels of the model."""
  if picture.ndim not in (2, 3) or not picture.size or picture.dtype.kind not in 'uf':
    raise UserError(
      f'a picture of shape {picture.shape} and type {picture.dtype} cannot be parsed; it must be '
      '[H, W] or [H, W, C], unsigned whole numbers or floats'
    )
  image = preparation.in_levels(np.atleast_3d(picture), data)
  image = image.convert('RGB' if data.colour else 'L')
  return np.asarray(image).reshape(image.height, image.width, -1)


def _axis(side: int, size: int) -> _Axis:
  number = 1 + -(-(side - size) // max(1, round(_STRIDE * size)))
  return _Axis(np.unique(np.round(np.linspace(0, side - size, number)).astype(int)), side, size)


def _look(
  model: Model,
  picture: UInt8[np.ndarray, 'H W C'],
  rows: _Axis,
  columns: _Axis,
  painted: mosaic.Mosaic,
  progress: Callable[[int, int], None],
) -> Iterator[_Found]:
  """The objects of all views, which are also painted."""
  size = rows.size
  corners = [(y, x) for y in rows.starts.tolist() for x in columns.starts.tolist()]
  for start in range(0, len(corners), _BATCH):
    part = corners[start : start + _BATCH]
    views = np.stack([picture[y : y + size, x : x + size] for y, x in part])
    scenes = model.parse(views, _BATCH)
    painted.add(scenes, part)
    yield from _views(scenes, part, rows, columns)
    progress(start + len(part), len(corners))


def _views(
  scenes: ParsedScenes, corners: list[tuple[int, int]], rows: _Axis, columns: _Axis
) -> Iterator[_Found]:
  """The objects that lie deep enough in views with these corners."""
  for i, (top, left) in enumerate(corners):
    segments = _join_around(scenes.segments[i])
    spans = ndimage.find_objects(segments, max_label=int(scenes.counts[i]))
    for t, span in enumerate(spans):
      if span is None:
        continue
      mask = segments[span] == t + 1
      corner = top + span[0].start, left + span[1].start
      middle = np.argwhere(mask).mean(0) + corner
      down = rows.depths(middle[0])[rows.starts == top].item()
      across = columns.depths(middle[1])[columns.starts == left].item()
      if (depth := min(down, across)) >= _MARGIN * rows.size:
        yield _Found(depth, corner, mask, middle, scenes.z_what_mean[i, t].copy())


def _join_around(labels: UInt16[np.ndarray, 'H W']) -> UInt16[np.ndarray, 'H W']:
  """The label image in which objects that lie around others, as halos do, are parts of them.

  A halo or a crescent holds the middle of the object that it belongs to in its convex hull.
  """
  joined = labels.copy()
  places = {number: np.argwhere(labels == number) for number in np.unique(labels) if number}
  for outer, inner in itertools.permutations(places, 2):
    if _holds(places[outer], places[inner].mean(0)):
      joined[joined == outer] = inner
  return joined


def _holds(pixels: Int[np.ndarray, 'P 2'], place: Float[np.ndarray, '2']) -> bool:
  """Whether the convex hull of pixels holds a place."""
  if (pixels.min(0) > place).any() or (pixels.max(0) < place).any():
    return False
  try:
    return bool(spatial.Delaunay(pixels).find_simplex(place) >= 0)
  except spatial.QhullError:
    return False  # they lie on a line


class _Object(NamedTuple):
  """An object of the picture."""

  found: _Found  # in the view in which it lies deepest
  votes: int  # views that found it


def _merge(
  found: Iterable[_Found], shape: tuple[int, int], least_area: float
) -> tuple[Int32[np.ndarray, 'H W'], list[_Object]]:
  """Takes each object from the view in which it lies deepest; scraps are none.

  Returns:
    (label image in which i + 1 is object i, the objects).
  """
  labels = np.zeros(shape, np.int32)
  kept: list[_Found] = []
  areas: list[int] = []
  votes: list[int] = []
  for each in sorted(found, key=lambda each: -each.depth):
    (top, left), (height, width) = each.corner, each.mask.shape
    place = labels[top : top + height, left : left + width]
    there, pixels = np.unique(place[each.mask], return_counts=True)
    area, shared = int(each.mask.sum()), pixels * (there > 0)
    most, other = int(shared.max()), int(there[shared.argmax()]) - 1
    if most and most > _SAME * (area + areas[other] - most):
      votes[other] += 1
      continue
    free = each.mask & (place == 0)
    if shared.sum() <= _TAKEN * area and free.sum() >= least_area:
      place[free] = len(kept) + 1
      kept.append(each)
      areas.append(int(free.sum()))
      votes.append(1)
  return labels, [*map(_Object, kept, votes)]


def _renumber(labels: Int32[np.ndarray, 'H W'], order: list[int]) -> Int32[np.ndarray, 'H W']:
  """Numbers objects by their place in a list of the old numbers less 1, others 0; in place."""
  numbers = np.zeros(max(int(labels.max(initial=0)), *order, 0) + 2, np.int32)
  numbers[np.array(order, int) + 1] = np.arange(len(order)) + 1
  for row in labels:
    row[:] = numbers[row]
  return labels
