"""Pictures are there and show something; whether they please, a person must see."""

import jax
import numpy as np
import pytest
import run_folder
from PIL import Image

from air_jax.types import LabelledScenes, Latents, Rollout
from air_jax.viz import figures, plots


def test_pictures_are_drawn_and_not_blank(finished_run):
  assert {path.stem for path in (finished_run / 'figures').glob('*.png')} == run_folder.PICTURES
  for name in run_folder.PICTURES:
    with Image.open(finished_run / 'figures' / f'{name}.png') as file:
      pixels = np.asarray(file.convert('L'), float)
    height, width = pixels.shape
    assert min(height, width) > 200
    # Something is drawn in every quarter.
    for half in (pixels[: height // 2], pixels[height // 2 :]):
      assert half[:, : width // 2].std() > 5 and half[:, width // 2 :].std() > 5


def _reconstructions(images, counts, found):
  """Reconstructions of scenes whose canvas after step t is t times the image."""
  canvases = np.arange(3)[:, None, None, None] * images[:, None]
  rolled = Rollout(*len(Rollout._fields) * (None,))._replace(
    presence_logits=np.zeros((len(images), 2)), canvases=canvases, crops=canvases[:, :2]
  )
  where = np.zeros((len(images), 2, 3))
  latents = Latents(where, None, np.array(found), None)
  (axes,) = figures.reconstructions(images, np.array(counts), latents, rolled).axes
  return [np.asarray(shown.get_array()) for shown in axes.images], [
    text.get_text() for text in axes.texts
  ]


def test_reconstructions_show_the_colours_and_cut_what_is_brighter_than_white():
  images = np.asarray(jax.random.uniform(jax.random.key(0), (1, 7, 7, 3)))
  shown, texts = _reconstructions(images, [2], [2])
  expected = images[0], images[0], 0 * images[0], np.minimum(2 * images[0], 1), images[0]
  for ours, theirs in zip(shown, expected, strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
  assert '2 there, 2 found' in texts


def test_reconstructions_say_where_the_true_count_is_not_known():
  images = np.asarray(jax.random.uniform(jax.random.key(0), (2, 7, 7, 1)))
  shown, texts = _reconstructions(images, [-1, 0], [1, 0])
  np.testing.assert_allclose(shown[0], images[0, ..., 0])
  assert {'? there, 1 found', '0 there, 0 found'} <= set(texts)


def test_training_is_drawn_where_no_counts_are_known():
  lines = [
    {'step': step, 'split': split, 'elbo': -step} for step in (5, 10) for split in ('train', 'test')
  ]
  for known in (False, True):
    accuracy, elbo = plots.training(
      [line | ({'count_accuracy': 0.5} if known else {}) for line in lines]
    ).axes
    assert len(elbo.lines) == 2 and len(accuracy.lines) == 2 * known
    np.testing.assert_array_equal(elbo.lines[0].get_xydata(), [(5, -5), (10, -10)])


def test_gallery_has_each_count_in_turn_with_the_boxes_that_are_there():
  counts, images = np.array([0, 2, 2, 1, -1]), np.zeros((5, 8, 8, 1), np.uint8)
  images += np.array([[50 * n] for n in range(5)], np.uint8)[..., None, None]
  boxes = np.zeros((5, 2, 4), np.float32)
  boxes[1:4] = (1, 2, 4, 6), (2, 0, 2, 2)
  (axes,) = figures.gallery(LabelledScenes(images, counts, boxes, None, None, None)).axes
  shown = [shown.get_array().max() * 255 for shown in axes.images]
  np.testing.assert_allclose(shown, [200, 0, 150, 50, 100], atol=1e-3)
  texts = [text.get_text() for text in axes.texts]
  assert texts == ['unknown', '0 there', '1 there', '2 there', '2 there']
  sizes = [(box.get_height(), box.get_width()) for box in axes.patches]
  large, small = (4 / 8, 6 / 8), (2 / 8, 2 / 8)
  np.testing.assert_allclose(sizes, [large, large, small, large, small])
  left, _, _, top = axes.images[2].get_extent()
  assert axes.patches[0].get_xy() == pytest.approx((left + 2 / 8, top + 1 / 8))
