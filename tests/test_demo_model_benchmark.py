"""benchmarks.demo_model: what is drawn, and the table."""

import numpy as np
import pytest
from scipy import ndimage

from benchmarks import demo_model, drawings

BRUSH = 0.055


@pytest.mark.parametrize('kind', drawings.KINDS)
@pytest.mark.parametrize('size', drawings.SIZES)
def test_things_lie_apart_on_the_paper(kind, size):
  side, most = drawings.SIZES[size]
  made = [*drawings.draw(kind, size, BRUSH, 12, seed=1)]
  assert {each.count for each in made} == set(range(1, most + 1))
  for each in made:
    assert each.pixels.shape == (drawings.PAPER, drawings.PAPER)
    labels, number = ndimage.label(each.pixels, np.ones((3, 3)))
    assert number >= each.count  # the lines of a thing need not meet
    for rows, columns in ndimage.find_objects(labels):
      longest = max(rows.stop - rows.start, columns.stop - columns.start)
      assert longest <= drawings.PAPER * (side + BRUSH) + 4
    assert not each.pixels[0].any() and not each.pixels[:, -1].any()


def test_drawings_follow_from_their_seed():
  first, again, other = (
    next(drawings.draw('digits', 'small', BRUSH, 1, seed)).pixels for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_the_table_sets_configurations_side_by_side():
  shares = {kind: dict.fromkeys(drawings.SIZES, 0.5) for kind in drawings.KINDS}
  runs = [
    {'configuration': name, 'steps': 20, 'seed': seed, 'seconds': 90 + seed, 'held_out': 0.9,
     'drawings': shares}
    for name, seed in (('demo', 1), ('demo', 0), ('tiny', 0))
  ]  # fmt: skip
  lines = demo_model.table(runs).splitlines()
  assert lines[0] == '| counted right, % | `demo`, 20 steps | `tiny`, 20 steps |'
  assert '| held-out scenes of `demo` | 90.0, 90.0 | 90.0 |' in lines
  assert '| letters drawn huge | 50, 50 | 50 |' in lines
  assert lines[-1] == '| seconds of a core | 90, 91 | 90 |'
