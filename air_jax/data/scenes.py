"""How scenes are composed: glyphs placed on a canvas by one of two rules, whole arrays at a time.

Two data sets go by the name of multi-MNIST, and figures on one say nothing about the other:

* `disjoint` (A. Kosiorek): digits cropped to their bounding boxes, at native size; no two boxes
  overlap.
* `touching` (Pyro, GenJAX): digits with their border, shrunk by a factor drawn from N(1.3, 0.1);
  refused only where the ink of two adds up to more than 255 in some pixel. Some of these scenes are
  truly ambiguous.

The count is drawn first, evenly. A scene that breaks its rule is drawn anew, digits and places,
with the same count, so that refusals do not thin out the fuller scenes. Boxes are around the ink.
"""

import numpy as np

from air_jax.data import glyphs as glyphs_lib
from air_jax.errors import UserError
from air_jax.types import Scenes

_BATCH = 4096  # scenes composed at once: bounds memory
_MAX_ROUNDS = 1000  # of redrawing before the canvas is called too small


def compose(glyphs, size, *, layout, canvas_size, max_objects, seed, min_objects=0):
  """Composes scenes.

  Args:
    glyphs: `Glyphs` to draw from, with replacement.
    size: number of scenes.
    layout: 'disjoint' or 'touching'.
    canvas_size: side of the canvas in pixels.
    max_objects: N, most objects in a scene.
    seed: sequence of integers; the scenes are a function of it and of the other arguments.
    min_objects: fewest objects in a scene.

  Returns:
    `Scenes` of NumPy arrays, B = size.

  Raises:
    UserError: the objects do not fit on the canvas.
  """
  rng = np.random.default_rng(seed)
  counts = rng.integers(min_objects, max_objects, size, np.int32, endpoint=True)
  scenes = Scenes(
    images=np.zeros((size, canvas_size, canvas_size), np.uint8),
    counts=counts,
    boxes=np.zeros((size, max_objects, 4), np.float32),
    labels=np.full((size, max_objects), -1, np.int32),
  )
  draw = _LAYOUTS[layout](glyphs, canvas_size)
  for start in range(0, size, _BATCH):
    pending = np.arange(start, min(start + _BATCH, size))
    for _ in range(_MAX_ROUNDS):
      drawn, good = draw(rng, counts[pending], max_objects)
      for whole, part in zip(scenes[0:1] + scenes[2:], drawn, strict=True):
        whole[pending[good]] = part[good]
      pending = pending[~good]
      if not pending.size:
        break
    else:
      raise UserError(
        f'data.max_objects={max_objects} {layout} digits do not fit on data.canvas_size='
        f'{canvas_size}; take fewer objects or a larger canvas'
      )
  return scenes


def _disjoint(glyphs, canvas_size):
  """Returns a function that draws scenes of digits in boxes that do not overlap."""
  tight, sizes = _crop_to_ink(glyphs.images)
  _check_fits(sizes.max(), canvas_size)

  def draw(rng, counts, max_objects):
    which = rng.integers(len(tight), size=(len(counts), max_objects))
    present = np.arange(max_objects) < counts[:, None]
    corners = rng.integers(canvas_size - sizes[which], endpoint=True)
    good = ~_any_overlap(corners, sizes[which], present)
    images = _place(tight[which], corners, present, canvas_size)
    return _describe(images, corners, sizes[which], glyphs.labels[which], present), good

  return draw


def _touching(glyphs, canvas_size):
  """Returns a function that draws scenes of digits of varying size whose ink may touch."""
  _check_fits(glyphs_lib.SIZE, canvas_size)

  def draw(rng, counts, max_objects):
    shape = (len(counts), max_objects)
    which = rng.integers(len(glyphs.images), size=shape)
    present = np.arange(max_objects) < counts[:, None]
    sides = (glyphs_lib.SIZE / rng.normal(1.3, 0.1, shape)).astype(np.int64)
    sides = np.clip(sides, 1, glyphs_lib.SIZE)
    corners = rng.integers((canvas_size - sides + 1)[..., None], size=(*shape, 2))
    pictures = _shrink(glyphs.images[which], sides)
    images = _place(pictures, corners, present, canvas_size)
    good = images.max((1, 2), initial=0) <= 255
    offsets, sizes = _ink_bounds(pictures)
    return _describe(images, corners + offsets, sizes, glyphs.labels[which], present), good

  return draw


_LAYOUTS = {'disjoint': _disjoint, 'touching': _touching}


def _describe(images, corners, sizes, labels, present):
  """(images, boxes, labels) of scenes, blank where no object is present."""
  boxes = np.where(present[..., None], np.concatenate([corners, sizes], -1), 0)
  return images.astype(np.uint8), boxes.astype(np.float32), np.where(present, labels, -1)


def _place(pictures, corners, present, canvas_size):
  """Adds pictures [B, N, s, s] to blank canvases at corners [B, N, 2]; [B, H, W] uint16."""
  batch, max_objects, side, _ = pictures.shape
  # Pictures are padded with blanks at their ends, which may hang over the canvas's.
  canvases = np.zeros((batch, canvas_size + side, canvas_size + side), np.uint16)
  rows, columns = (corners[..., axis, None] + np.arange(side) for axis in (0, 1))
  for k in range(max_objects):
    scene = np.flatnonzero(present[:, k])
    at = scene[:, None, None], rows[scene, k, :, None], columns[scene, k, None, :]
    canvases[at] += pictures[scene, k]
  return canvases[:, :canvas_size, :canvas_size]


def _any_overlap(corners, sizes, present):
  """[B] whether any two present boxes of [B, N, 2] corners and sizes share a pixel."""
  ends = corners + sizes
  apart = (ends[:, :, None] <= corners[:, None]) | (ends[:, None] <= corners[:, :, None])
  pairs = np.triu(present[:, :, None] & present[:, None], k=1)
  return (pairs & ~apart.any(-1)).any((1, 2))


def _crop_to_ink(images):
  """Moves each glyph's bounding box to the corner; returns images and [M, 2] box sizes."""
  corners, sizes = _ink_bounds(images)
  side = images.shape[-1]
  padded = np.pad(images, ((0, 0), (0, side), (0, side)))
  rows, columns = (corners[:, axis, None] + np.arange(side) for axis in (0, 1))
  tight = padded[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None]]
  return tight, sizes


def _ink_bounds(pictures):
  """Corners and sizes, both [..., 2], of the boxes around what is not 0 in [..., s, s]."""
  inked = [pictures.max(axis) > 0 for axis in (-1, -2)]  # rows, columns
  starts = [line.argmax(-1) for line in inked]
  ends = [line.shape[-1] - line[..., ::-1].argmax(-1) for line in inked]
  corners = np.stack(starts, -1)
  return corners, np.stack(ends, -1) - corners


def _shrink(images, sides):
  """Resizes [B, N, s, s] pictures to sides [B, N] <= s, anti-aliased, padded at their ends."""
  result = np.zeros_like(images)
  for side in np.unique(sides):
    weights = _area_weights(images.shape[-1], side)
    chosen = sides == side
    small = weights @ images[chosen].astype(np.float32) @ weights.T
    result[chosen, :side, :side] = np.round(small).astype(np.uint8)
  return result


def _area_weights(size, side):
  """[side, size] triangle filter, widened by the reduction: what PIL calls BILINEAR."""
  factor = size / side
  centres = (np.arange(side)[:, None] + 0.5) * factor
  distance = np.abs(np.arange(size) + 0.5 - centres) / max(factor, 1.0)
  weights = np.maximum(0.0, 1.0 - distance).astype(np.float32)
  return weights / weights.sum(1, keepdims=True)


def _check_fits(side, canvas_size):
  if side > canvas_size:
    raise UserError(
      f'data.canvas_size={canvas_size} is smaller than a digit; it must be at least {side}'
    )
