"""Backgrounds and noise of composed scenes, against independent readings of what they should be."""

import dataclasses

import numpy as np
import pytest
import samples
from scipy import stats

GRADIENT = samples.data_config(
  source='sprites', colour=True, background='gradient', min_objects=1, max_objects=3
)
NOISY = dataclasses.replace(GRADIENT, noise=0.05)


@pytest.fixture(scope='module')
def gradient():
  return samples.compose(GRADIENT, None, 1000)


def outside_boxes(made):
  """[B, H, W] pixels that belong to no object's box."""
  size = made.images.shape[1]
  masks = [[samples.mask(box, size) for box in boxes] for boxes in made.boxes]
  return ~np.array(masks).any(1)


def test_background_shows_where_no_object_is_and_objects_cover_it(gradient):
  y, x = np.mgrid[:50, :50]
  design = np.stack([np.ones(2500), y.ravel(), x.ravel()], -1)
  colours = set()
  for image, clear, count, boxes in zip(
    gradient.images[:300].astype(float), outside_boxes(gradient)[:300], gradient.counts,
    gradient.boxes, strict=False,
  ):  # fmt: skip
    plane = np.linalg.lstsq(design[clear.ravel()], image[clear], rcond=None)[0]
    behind = (design @ plane).reshape(50, 50, 3)
    assert behind.min() > -1 and behind.max() < 128.5
    assert abs(image - behind)[clear].max() < 1.0  # rounding, and what it did to the fit
    for box in boxes[:count]:
      here = samples.mask(box, 50)
      top, left, height, width = box.astype(int)
      colour = image[top + height // 2, left + width // 2]  # shapes are solid in their middle
      assert set(colour) == {0, 255}
      colours.add(tuple(colour))
      # Each channel tells how much ink there is; where its levels are far apart, they agree.
      lever = colour - behind[here]
      shares = (image[here] - behind[here]) / np.where(abs(lever) > 40, lever, np.nan)
      seen = ~np.isnan(shares)
      assert np.nanmin(shares) > -0.04 and np.nanmax(shares) < 1.04
      most = np.where(seen, shares, -np.inf).max(-1)
      least = np.where(seen, shares, np.inf).min(-1)
      assert (most - least).max() < 0.04  # 1 / 40 for rounding, and the fit
  assert len(colours) == 6


def test_scenes_have_backgrounds_of_their_own(gradient):
  corner = gradient.images[:, 0, 0][outside_boxes(gradient)[:, 0, 0]]
  assert corner.std(0).min() > 20
  assert abs(np.corrcoef(corner.T.astype(float)) - np.eye(3)).max() * np.sqrt(len(corner)) < 4


def test_noise_is_normal_of_the_given_deviation_and_changes_nothing_else(gradient):
  noisy = samples.compose(NOISY, None, 200)
  for ours, theirs in zip(noisy[1:], gradient[1:], strict=True):
    np.testing.assert_array_equal(ours, theirs[:200])
    assert ours.dtype == theirs.dtype
  clean = gradient.images[:200].astype(int)
  noise = noisy.images - clean
  middle = (clean > 64) & (clean < 191)  # five deviations from where it would be clipped
  values, std = noise[middle], 255 * 0.05
  count = len(values)
  assert abs(values.mean()) < 4 * std / np.sqrt(count)
  # Both pictures were rounded, which adds a twelfth each.
  assert abs(values.var() / (std**2 + 2 / 12) - 1) < 4 * np.sqrt(2 / count)
  shares = np.diff(stats.norm(0, np.sqrt(std**2 + 1 / 12)).cdf(np.arange(-41, 41) + 0.5))
  seen = np.bincount(np.clip(values, -41, 41) + 41, minlength=83)[1:-1]
  assert abs(seen / count - shares).max() < 0.001
  for shift in ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)):
    other, both = np.roll(noise, shift, range(4)), middle & np.roll(middle, shift, range(4))
    assert abs(np.corrcoef(noise[both], other[both])[0, 1]) * np.sqrt(both.sum()) < 4


def test_a_grid_has_lines_five_pixels_apart_with_offsets_of_their_own():
  config = samples.data_config(source='sprites', background='grid')
  made = samples.compose(config, None, 200)
  offsets = set()
  for image, clear in zip(made.images[..., 0], outside_boxes(made), strict=True):
    assert set(image[clear]) == {0, 102}  # 0.4 of 255
    lit = np.where(clear, image == 102, True)
    down, across = lit.all(1).nonzero()[0], lit.all(0).nonzero()[0]
    assert (np.diff(down) == 5).all() and (np.diff(across) == 5).all()
    offsets.add((down[0], across[0]))
    behind = np.zeros((50, 50), bool)
    behind[down] = behind[:, across] = True
    np.testing.assert_array_equal((image == 102)[clear], behind[clear])
  assert len(offsets) == 25
  assert made.images.max() == 255


def test_noise_over_a_dim_background_is_seldom_cut_off():
  config = samples.data_config(source='sprites', background='dim', noise=0.225)
  made = samples.compose(config, None, 100)
  clear = made.images[..., 0][outside_boxes(made)]
  share = stats.norm(0.1, 0.225).cdf(0.5 / 255)  # rounds to black
  assert abs((clear == 0).mean() - share) < 4 * np.sqrt(share / len(clear))
  share = stats.norm(0.1, 0.225).sf(0.5)
  assert abs((clear > 127).mean() - share) < 4 * np.sqrt(share / len(clear))
