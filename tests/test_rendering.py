"""How layers are put together, against a painter who starts at the back."""

import jax.numpy as jnp
import numpy as np
import pytest
from samples import variant

from air_jax.model import air, rendering

RNG = np.random.default_rng(0)
BACKGROUND = RNG.uniform(size=(5, 4, 3)).astype(np.float32)
MASKS = RNG.uniform(size=(3, 5, 4, 1)).astype(np.float32)
COLOURS = RNG.uniform(size=(3, 5, 4, 3)).astype(np.float32)
OVER = rendering.COMPOSITINGS['over']
LAYERS = np.concatenate([COLOURS * MASKS, MASKS], -1)


def _paint_from_the_back(count):
  canvas = BACKGROUND
  for colour, mask in reversed([*zip(COLOURS[:count], MASKS[:count], strict=True)]):
    canvas = mask * colour + (1 - mask) * canvas
  return canvas


def test_the_first_object_is_in_front():
  canvases = rendering.compose(OVER, BACKGROUND, LAYERS)
  expected = [_paint_from_the_back(count) for count in range(4)]
  np.testing.assert_allclose(canvases, expected, atol=1e-6)


def test_brightness_adds_up():
  canvases = rendering.compose(rendering.COMPOSITINGS['add'], BACKGROUND, COLOURS)
  np.testing.assert_allclose(canvases, np.cumsum([BACKGROUND, *COLOURS], axis=0), atol=1e-6)


@pytest.mark.parametrize('name, layers', (('add', COLOURS), ('over', LAYERS)))
def test_a_canvas_is_the_background_and_what_each_object_adds(name, layers):
  compositing = rendering.COMPOSITINGS[name]
  additions = compositing.additions(BACKGROUND, layers)
  for count, canvas in enumerate(rendering.compose(compositing, BACKGROUND, layers)):
    expected = BACKGROUND + np.sum(additions[:count], axis=0)
    np.testing.assert_allclose(canvas, expected, atol=1e-6)


def test_what_is_visible_and_the_background_make_up_every_pixel():
  # On black, white objects show where they are visible.
  white = np.concatenate([MASKS, MASKS], -1)
  canvas = rendering.compose(OVER, np.zeros((5, 4, 1)), white)[-1]
  np.testing.assert_allclose(OVER.visible(white).sum(0), canvas[..., 0], atol=1e-6)
  np.testing.assert_array_equal(OVER.visible(white)[0], MASKS[0, ..., 0])
  np.testing.assert_array_equal(OVER.ink(white), MASKS[..., 0])


def test_opaque_objects_leave_nothing_and_hide_everything():
  opaque = np.ones((2, 5, 4, 4), np.float32)
  np.testing.assert_array_equal(OVER.visible(opaque), np.stack([np.ones((5, 4)), np.zeros((5, 4))]))
  np.testing.assert_array_equal(OVER.leave(BACKGROUND, opaque[0]), 0 * BACKGROUND)
  np.testing.assert_allclose(OVER.leave(BACKGROUND, LAYERS[0]), (1 - MASKS[0]) * BACKGROUND)


def test_a_dark_object_hides_bright_ground():
  dark = np.zeros((1, 5, 4, 4), np.float32)
  dark[0, 2, 2, 3] = 1
  canvas = rendering.compose(OVER, np.ones((5, 4, 3)), dark)[1]
  assert (canvas[2, 2] == 0).all() and canvas.sum() == 3 * 19


def test_colours_of_a_glimpse_are_never_brighter_than_its_mask(model):
  model, params, *_ = variant(model, compositing='over', channels=3)
  glimpse = model.networks.decode_glimpse(params, jnp.ones(model.spec.code_size))
  size = model.spec.glimpse_size
  assert glimpse.shape == (size, size, 4)
  assert (glimpse[..., :3] <= glimpse[..., 3:]).all() and (glimpse[..., :3] > 0).all()


def test_glimpses_start_nearly_transparent_and_of_no_colour(model):
  model, params, *_ = variant(model, compositing='over', channels=3)
  params['glimpse_decoder']['output']['kernel'] *= 0
  glimpse = model.networks.decode_glimpse(params, jnp.zeros(model.spec.code_size))
  mask = 1 / (1 + np.exp(-float(model.numbers.output_bias)))
  expected = np.broadcast_to([mask / 2, mask / 2, mask / 2, mask], glimpse.shape)
  np.testing.assert_allclose(glimpse, expected, rtol=1e-5)


def test_a_decoded_scene_hides_later_objects(model):
  model, params, *_ = variant(model, compositing='over')
  latents = air.sample_prior(model, params, jnp.zeros(2, jnp.uint32))
  latents = latents._replace(count=jnp.int32(2))
  _, layers = air.render_objects(model, params, latents)
  colours, masks = layers[..., :1], layers[..., 1:]
  expected = colours[0] + (1 - masks[0]) * colours[1]
  np.testing.assert_allclose(air.decode(model, params, latents), expected, atol=1e-6)
