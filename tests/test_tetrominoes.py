"""Shapes of four squares: which there are, and scenes of them."""

import itertools

import numpy as np
import pytest
import samples

from air_jax.data import tetrominoes

CONFIG = samples.data_config(
  source='tetrominoes', layout='adjacent', colour=True, canvas_size=35, min_objects=3, max_objects=3
)


def _connected(cells):
  """Whether one can walk from any square to all others."""
  known, left = set(), [min(cells)]
  while left:
    row, column = left.pop()
    known.add((row, column))
    steps = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)}
    left += (steps & cells) - known
  return known == cells


def test_they_are_all_connected_sets_of_four_squares():
  grid = list(itertools.product(range(4), repeat=2))
  fours = map(frozenset, itertools.combinations(grid, 4))
  expected = {
    cells
    for cells in fours
    if _connected(cells) and min(c[0] for c in cells) == 0 == min(c[1] for c in cells)
  }
  assert len(expected) == 19
  assert set(tetrominoes.shapes()) == expected and len(tetrominoes.shapes()) == 19


@pytest.fixture(scope='module')
def glyphs():
  return tetrominoes.read(None, 'train')


@pytest.fixture(scope='module')
def scenes(glyphs):
  return samples.compose(CONFIG, glyphs, 1000)


def test_glyphs_are_their_squares_of_five_pixels(glyphs):
  for image, label in zip(*glyphs, strict=True):
    squares = {(row // 5, column // 5) for row, column in np.argwhere(image[4:, 4:])}
    assert squares == tetrominoes.shapes()[label]
    assert (image == 255).sum() == 4 * 25 and set(np.unique(image)) == {0, 255}


def test_pieces_lie_side_by_side_each_whole_and_of_one_colour(scenes):
  assert (scenes.counts == 3).all()
  for image, segments in zip(scenes.images, scenes.segments, strict=True):
    assert (image[segments == 0] == 0).all()
    for k in (1, 2, 3):
      colours = image[segments == k]
      assert colours.shape == (100, 3) and (colours == colours[0]).all() and colours.any()


def test_boxes_may_overlap_and_all_shapes_occur(scenes):
  first, second = (np.moveaxis(scenes.boxes[:, k], -1, 0) for k in (0, 1))
  apart = np.zeros(len(scenes.boxes), bool)
  for start, side in ((0, 2), (1, 3)):
    apart |= first[start] + first[side] <= second[start]
    apart |= second[start] + second[side] <= first[start]
  assert 0.02 < (~apart).mean() < 0.9
  assert (np.bincount(scenes.labels.ravel(), minlength=19) > 50).all()
