"""Solids on a table seen from above: true ones grey, found ones as outlines over them."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from air_jax import scene3d
from air_jax.types import LabelledScenes, Pose
from air_jax.viz import palette
from air_jax.viz.backend import Axes, Circle, Figure, Polygon, Rectangle
from air_jax.viz.image_grid import ImageGrid

_TRUE = '#bdbdbd'
_INNER = 0.35  # radius of the inner circle of a cylinder, as a fraction of its own


class Solid(NamedTuple):
  """What is seen of a solid from above; a unit is half the width of the table."""

  kind: int  # index into `scene3d.KINDS`
  place: Float[np.ndarray, '2']
  rotation: float  # radians
  size: float  # half of its width


def true_solids(scenes: LabelledScenes, scene: int) -> list[Solid]:
  """The objects of a scene; none where places are not known."""
  return [
    Solid(
      int(scenes.labels[scene, k]),
      np.asarray(scenes.places[scene, k]),
      float(scenes.rotations[scene, k]),
      scene3d.SIZE * float(scenes.scales[scene, k]),
    )
    for k in range(int(scenes.counts[scene]) if np.any(scenes.places) else 0)
  ]


def found_solids(pose: Pose) -> list[Solid]:
  """M objects that were found, each of its most probable kind.

  Args:
    pose: [M].
  """
  each = zip(np.argmax(pose.kinds, -1), pose.place, pose.rotation, pose.size, strict=True)
  return [
    Solid(int(kind), np.asarray(place), float(rotation), float(size))
    for kind, place, rotation, size in each
  ]


def solids(
  scenes: LabelledScenes,
  counts: Int[np.ndarray, ' B'],
  canvases: Float[np.ndarray, 'B H W C'],
  poses: Pose,
) -> Figure:
  """Scenes of solids, one in a column: the image, what is rendered, and the table from above.

  Args:
    scenes: true ones; places are drawn where they are known.
    counts: numbers of objects found.
    canvases: rendered.
    poses: [B, T] of the objects found.
  """
  grid = ImageGrid(3, len(counts))
  for row, name in enumerate(('input', 'rendered', 'from above')):
    grid.name_row(row, name)
  for b, count in enumerate(counts):
    grid.title(0, b, f'true {scenes.counts[b]}, found {count}')
    grid.show(0, b, np.asarray(scenes.images[b]) / np.float32(255))
    grid.show(1, b, canvases[b])
    pose = jax.tree.map(lambda x, b=b, count=count: x[b, :count], poses)
    draw(grid.inset(2, b), true_solids(scenes, b), found_solids(pose))
  return grid.figure


def draw(axes: Axes, true: Sequence[Solid], found: Sequence[Solid]) -> None:
  """Draws the table, x to the right and y, away from the camera, upwards.

  A cube is a square, a sphere a circle with a dot, a cylinder two circles.
  """
  axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect='equal')
  axes.axis('off')
  axes.add_patch(Rectangle((-1, -1), 2, 2, facecolor='white', edgecolor=palette.GREY))
  for solid in true:
    for patch in _outlines(solid):
      patch.set(facecolor=_TRUE, edgecolor=palette.GREY, linewidth=0.8)
      axes.add_patch(patch)
  for step, solid in enumerate(found):
    for patch in _outlines(solid):
      patch.set(
        fill=False,
        edgecolor=palette.line_colour(step),
        linestyle=palette.line_style(step),
        linewidth=1.6,
      )
      axes.add_patch(patch)


def _outlines(solid: Solid) -> list[Polygon | Circle]:
  kind = scene3d.KINDS[solid.kind]
  if kind == 'cube':
    angles = solid.rotation + np.pi / 4 + np.pi / 2 * np.arange(4)
    corners = np.sqrt(2) * solid.size * np.stack([np.cos(angles), np.sin(angles)], -1)
    return [Polygon(solid.place + corners)]
  inner = _INNER if kind == 'cylinder' else 0.05
  x, y = map(float, solid.place)
  return [Circle((x, y), solid.size), Circle((x, y), inner * solid.size)]
