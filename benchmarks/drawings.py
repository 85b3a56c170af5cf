"""Drawings as people make them on the page of the demo, with a mouse: digits, letters, shapes."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from scipy import interpolate

PAPER = 400  # pixels, side of the page's canvas
# Side of a thing as a share of the paper, and the most things that are drawn:
SIZES = {'small': (0.17, 4), 'medium': (0.25, 4), 'large': (0.36, 2), 'huge': (0.55, 1)}
_APART = 0.1  # of the paper, between things
_OFF = 0.03  # of a thing, deviation of its points
_SLANT, _NARROW = 0.12, 0.15  # deviations of its slant and of its width
_TREMOR = 0.008  # of a thing, deviation of the hand along a line
_POINTS = 40  # of a line
_TRIES = 200


class _Line(NamedTuple):
  """A line drawn without lifting the pen, through points (right, down) of a unit square."""

  points: tuple[tuple[float, float], ...]
  round: bool = False


def _line(*points: tuple[float, float]) -> _Line:
  return _Line(points)


def _curve(*points: tuple[float, float]) -> _Line:
  return _Line(points, round=True)


_ROUND = _curve((0.5, 0), (0.1, 0.25), (0.1, 0.75), (0.5, 1), (0.9, 0.75), (0.9, 0.25), (0.5, 0.0))
KINDS: dict[str, list[tuple[_Line, ...]]] = {
  'digits': [
    (_ROUND,),
    (_line((0.5, 0), (0.5, 1)),),
    (_curve((0.15, 0.25), (0.5, 0), (0.85, 0.25), (0.5, 0.65), (0.1, 1)),
     _line((0.1, 1), (0.9, 1))),
    (_curve((0.15, 0.1), (0.6, 0), (0.85, 0.25), (0.45, 0.47)),
     _curve((0.45, 0.47), (0.9, 0.7), (0.6, 1), (0.1, 0.9))),
    (_line((0.6, 0), (0.1, 0.6), (0.95, 0.6)), _line((0.7, 0.3), (0.7, 1))),
    (_line((0.85, 0), (0.25, 0), (0.2, 0.45)),
     _curve((0.2, 0.45), (0.7, 0.4), (0.9, 0.7), (0.6, 1), (0.1, 0.9))),
    (_curve((0.75, 0), (0.3, 0.3), (0.15, 0.75), (0.5, 1), (0.85, 0.75), (0.5, 0.52),
            (0.2, 0.75)),),
    (_line((0.1, 0), (0.9, 0), (0.4, 1)),),
    (_curve((0.5, 0.47), (0.15, 0.22), (0.5, 0), (0.85, 0.22), (0.5, 0.47), (0.12, 0.75), (0.5, 1),
            (0.88, 0.75), (0.5, 0.47)),),
    (_curve((0.85, 0.25), (0.5, 0.5), (0.15, 0.25), (0.5, 0), (0.85, 0.25), (0.8, 0.7), (0.6, 1)),),
  ],
  'letters': [
    (_line((0.05, 1), (0.5, 0), (0.95, 1)), _line((0.25, 0.62), (0.75, 0.62))),
    (_curve((0.9, 0.15), (0.5, 0), (0.1, 0.5), (0.5, 1), (0.9, 0.85)),),
    (_line((0.85, 0), (0.15, 0), (0.15, 1), (0.85, 1)), _line((0.15, 0.5), (0.7, 0.5))),
    (_line((0.1, 0), (0.1, 1)), _line((0.9, 0), (0.9, 1)), _line((0.1, 0.5), (0.9, 0.5))),
    (_line((0.2, 0), (0.2, 1), (0.85, 1)),),
    (_line((0.05, 1), (0.15, 0), (0.5, 0.7), (0.85, 0), (0.95, 1)),),
    (_line((0.1, 1), (0.1, 0), (0.9, 1), (0.9, 0)),),
    (_curve((0.85, 0.15), (0.5, 0), (0.15, 0.25), (0.5, 0.5), (0.85, 0.75), (0.5, 1),
            (0.15, 0.85)),),
    (_line((0.05, 0), (0.95, 0)), _line((0.5, 0), (0.5, 1))),
    (_line((0.1, 0), (0.9, 0), (0.1, 1), (0.9, 1)),),
  ],
  'circles': [
    (_curve((0.5, 0), (0, 0.5), (0.5, 1), (1, 0.5), (0.52, 0.01)),),
  ],
  'crosses': [
    (_line((0, 0), (1, 1)), _line((1, 0), (0, 1))),
    (_line((0.5, 0), (0.5, 1)), _line((0, 0.5), (1, 0.5))),
  ],
}  # fmt: skip


class Drawing(NamedTuple):
  """A drawing, white on black."""

  pixels: UInt8[np.ndarray, '400 400']
  count: int


def draw(kind: str, size: str, brush: float, number: int, seed: int) -> Iterator[Drawing]:
  """Draws things of a kind, 1 to as many as fit, which lie apart.

  Args:
    kind: of `KINDS`.
    size: of `SIZES`.
    brush: its width, as a share of the paper.
    number: of drawings.
    seed: of all of them.
  """
  generator = np.random.default_rng([seed, list(KINDS).index(kind), list(SIZES).index(size)])
  side, most = SIZES[size]
  for _ in range(number):
    count = int(generator.integers(1, most + 1))
    paper = Image.new('L', (PAPER, PAPER))
    for corner in _places(side, count, generator):
      things = KINDS[kind]
      for line in _hand(things[generator.integers(len(things))], generator):
        _stroke(paper, PAPER * (corner + side * line), PAPER * brush)
    yield Drawing(np.asarray(paper), count)


def _places(side: float, count: int, generator: np.random.Generator) -> Float[np.ndarray, 'N 2']:
  """The corners of squares that lie apart."""
  while True:
    corners: list[np.ndarray] = []
    for _ in range(_TRIES):
      if len(corners) == count:
        return np.array(corners)
      corner = generator.uniform(_APART / 2, 1 - _APART / 2 - side, 2)
      if all(np.abs(corner - other).max() > side + _APART for other in corners):
        corners.append(corner)


def _hand(thing: tuple[_Line, ...], generator: np.random.Generator) -> list[np.ndarray]:
  """The lines of a thing as a hand draws them, each an array of points."""
  slant, narrow = generator.normal(0, _SLANT), abs(generator.normal(0, _NARROW))
  turn = np.array([[1 - narrow, slant], [0, 1]])
  lines = []
  for line in thing:
    points = np.array(line.points) + generator.normal(0, _OFF, (len(line.points), 2))
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    degree = min(3, len(points) - 1) if line.round else 1
    path = interpolate.make_interp_spline(along, points, degree)(np.linspace(0, along[-1], _POINTS))
    tremor = generator.normal(0, _TREMOR, path.shape)
    lines.append(((path + tremor - 0.5) @ turn.T + 0.5).clip(0, 1))
  return lines


def _stroke(paper: Image.Image, points: Float[np.ndarray, 'P 2'], width: float) -> None:
  pen = ImageDraw.Draw(paper)
  pen.line([*map(tuple, points)], 255, round(width))
  for x, y in points:  # round ends and joints
    pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), 255)
