"""Pictures of any size are parsed in views, and their objects merged."""

import types

import numpy as np
import pytest
import samples
from scipy import ndimage

from air_jax.errors import UserError
from air_jax.evaluation import familiarity
from air_jax.inference import large_pictures

CANVAS = 50


class Threshold:
  """Finds the bright parts of a view, and of those that it cuts off what is inside."""

  noise = 0.1

  def __init__(self, object_pixels=18.0, blind=(), reference=None, unlike=(), **changes):
    data = samples.data_config(canvas_size=CANVAS, object_pixels=object_pixels, **changes)
    self.config, self.step = types.SimpleNamespace(data=data), 7
    self.reference = reference
    self._unlike = set(unlike)  # numbers of views that are unlike held-out ones
    self._blind = set(blind)  # numbers of views in which nothing is found
    self._seen = 0

  def parse(self, images, batch_size=0):
    del batch_size
    segments, counts, unlike = [], [], []
    for image in images:
      unlike.append(self._seen in self._unlike)
      labels, number = ndimage.label(image[..., 0] > 127)
      if self._seen in self._blind:
        labels, number = np.zeros_like(labels), 0
      self._seen += 1
      segments.append(labels.astype(np.uint16))
      counts.append(number)
    most = max(counts)
    codes = np.stack([np.full((most, 2), image.max(), np.float32) for image in images])
    segments = np.stack(segments)
    return types.SimpleNamespace(
      segments=segments,
      counts=np.array(counts),
      z_what_mean=codes,
      canvases=images / 255 * (segments > 0)[..., None],
      backgrounds=np.zeros(images.shape),
      elbo=np.arange(len(images), dtype=float),
      elbo_ranks=np.full(len(images), 0.5),
      unlike=np.array(unlike),
    )


def discs(shape, middles, radius=8):
  """A picture of bright discs, and the label image that says which is which."""
  y, x = np.indices(shape)
  labels = np.zeros(shape, np.int32)
  for number, (row, column) in enumerate(middles, 1):
    labels[(y - row) ** 2 + (x - column) ** 2 < radius**2] = number
  return (255 * (labels > 0)).astype(np.uint8)[..., None], labels


def scattered(shape, number, apart=20, seed=0):
  """Places inside a picture, at least so far from one another."""
  generator = np.random.default_rng(seed)
  found = []
  while len(found) < number:
    place = generator.uniform(0, shape)
    if all(np.hypot(*(place - other)) > apart for other in found):
      found.append(place)
  return sorted(map(tuple, found))


@pytest.mark.parametrize('shape', [(50, 50), (64, 51), (233, 310), (30, 300), (17, 12)])
def test_every_object_is_found_once(shape):
  number = max(1, shape[0] * shape[1] // 2500)
  picture, labels = discs(shape, scattered(shape, number))
  parsed = large_pictures.parse_large(Threshold(), picture)
  assert len(parsed.boxes) == len(parsed.scores) == number
  assert (parsed.scores >= 0.9).all()
  # The same parts of the picture, whatever their numbers.
  pairs = np.unique(np.stack([labels.ravel(), parsed.labels.ravel()]), axis=1)
  assert pairs.shape[1] == number + 1


def test_boxes_are_those_of_the_masks_in_pixels_of_the_file():
  picture, labels = discs((120, 90), [(30, 40), (80, 50)], radius=16)
  parsed = large_pictures.parse_large(Threshold(object_pixels=36.0), picture)
  assert parsed.labels.shape == (120, 90)
  assert len(parsed.boxes) == 2
  np.testing.assert_allclose(parsed.boxes, [[15, 25, 31, 31], [65, 35, 31, 31]], atol=2)
  agree = (parsed.labels > 0) == (labels > 0)
  assert agree.mean() > 0.97


def test_an_object_that_few_views_find_is_left_out():
  picture, _ = discs((50, 150), [(25, 25), (25, 125)])
  views = 1 + -(-100 // 17)
  assert len(large_pictures.parse_large(Threshold(blind=()), picture).boxes) == 2
  most = large_pictures.parse_large(Threshold(blind=range(views - 3)), picture)
  assert len(most.boxes) == 1 and most.boxes[0, 1] > 100
  nothing = large_pictures.parse_large(Threshold(blind=range(views)), picture)
  assert nothing.boxes.shape == (0, 4) and not nothing.labels.any()


class Rims(Threshold):
  """Takes the darker rim of an object for an object of its own."""

  def parse(self, images, batch_size=0):
    scenes = super().parse(images, batch_size)
    for i, image in enumerate(images):
      rims, number = ndimage.label((image[..., 0] > 127) & (image[..., 0] < 200))
      scenes.segments[i][rims > 0] = rims[rims > 0] + scenes.counts[i]
      scenes.counts[i] += number
    scenes.z_what_mean = np.zeros((len(images), scenes.counts.max(), 2), np.float32)
    return scenes


@pytest.mark.parametrize('left', [0, 28])
def test_a_rim_around_an_object_is_a_part_of_it(left):
  places = [(30, 30), (80, 60)]
  inner, rim = (discs((120, 90), places, radius)[0] for radius in (7, 11))
  rim[:, :left] = 0  # a crescent now
  picture = np.where(inner > 0, 255, np.where(rim > 0, 150, 0)).astype(np.uint8)
  parsed = large_pictures.parse_large(Rims(), picture)
  assert len(parsed.boxes) == 2
  np.testing.assert_array_equal(parsed.labels > 0, picture[..., 0] > 0)


def test_a_long_object_beside_another_is_none_around_it():
  picture, _ = discs((60, 60), [(30, 30)], radius=4)
  picture[16:44, 10:14] = 255
  assert len(large_pictures.parse_large(Threshold(), picture).boxes) == 2


def test_progress_counts_views():
  picture, _ = discs((200, 200), [])
  calls = []
  large_pictures.parse_large(
    Threshold(), picture, lambda done, number: calls.append((done, number))
  )
  assert calls[-1] == (100, 100) and calls[0] == (64, 100)


def test_values_are_brought_to_the_levels_of_the_run():
  picture, labels = discs((60, 90), [(20, 30)])
  dark = (1100 - 4 * picture.astype(np.uint16))[..., 0]
  model = Threshold(levels=(80.0, 1100.0), invert=True)
  parsed = large_pictures.parse_large(model, dark)
  np.testing.assert_array_equal(parsed.labels, labels)


def test_what_cannot_be_parsed_is_refused():
  with pytest.raises(UserError, match='trained on whole images; parse_large needs one'):
    large_pictures.parse_large(Threshold(object_pixels=0.0), np.zeros((9, 9), np.uint8))
  for picture in (np.zeros(9, np.uint8), np.zeros((0, 9), np.uint8), np.zeros((9, 9), np.int64)):
    with pytest.raises(UserError, match='cannot be parsed; it must be'):
      large_pictures.parse_large(Threshold(), picture)


def reference(level=0.3, area=50.0):
  return familiarity.Reference(7, 100, level, area, ())


def test_what_no_object_explains_is_a_region():
  picture, labels = discs((120, 160), [(30, 40), (90, 60), (60, 130)])
  grey = np.where(labels == 2, 110, picture[..., 0]).astype(np.uint8)  # too dark to be found
  grey[100:103, 140:143] = 120  # too small to count
  parsed = large_pictures.parse_large(Threshold(reference=reference()), grey)
  assert len(parsed.boxes) == 2
  np.testing.assert_array_equal(parsed.regions, labels == 2)
  ink = {number: (grey[labels == number] / 255 - 0.1).sum() for number in (1, 2, 3)}
  small = 9 * (120 / 255 - 0.1)
  expected = (ink[1] + ink[3]) / (sum(ink.values()) + small)
  assert parsed.ink_explained == pytest.approx(expected, abs=0.01)
  unknown = large_pictures.parse_large(Threshold(), grey)
  assert not unknown.regions.any() and unknown.ink_explained == parsed.ink_explained


def test_an_object_that_is_not_reported_is_a_region():
  picture, labels = discs((50, 150), [(25, 75), (25, 125)])
  model = Threshold(blind=(2, 4), reference=reference())  # of views 2, 3, 4 that hold the first
  found = large_pictures.parse_large(model, picture)
  assert [box[1] > 100 for box in found.boxes] == [True]
  np.testing.assert_array_equal(found.regions, labels == 1)


def test_regions_are_in_pixels_of_the_file():
  picture, labels = discs((120, 90), [(60, 40)], radius=16)
  model = Threshold(object_pixels=36.0, reference=reference())
  grey = np.where(labels == 1, 110, 0).astype(np.uint8)
  parsed = large_pictures.parse_large(model, grey)
  assert parsed.regions.shape == (120, 90)
  assert ((parsed.regions > 0) == (labels > 0)).mean() > 0.97


@pytest.mark.parametrize('number, unlike', [(0, False), (3, False), (4, True), (7, True)])
def test_a_picture_is_unlike_where_half_of_its_views_are(number, unlike):
  picture, _ = discs((50, 150), [(25, 25)])
  parsed = large_pictures.parse_large(
    Threshold(reference=reference(), unlike=range(number)), picture
  )
  assert parsed.unlike == unlike
  assert (parsed.elbo, parsed.elbo_rank) == (3.0, 0.5)  # the mean of 0 .. 6
