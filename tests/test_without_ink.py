"""Objects that explain nothing of an image are not counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples

from air_jax.inference import without_ink
from air_jax.model import air, rendering

SQUARES = [(2, 2), (2, 12), (12, 4)]  # corners


def layers_of(model, strengths, corners=SQUARES):
  """Layers with a square of 6 pixels each, as bright as said."""
  size, channels = model.spec.canvas_size, model.spec.channels
  layers = np.zeros((len(corners), size, size, channels), np.float32)
  for layer, (y, x), strength in zip(layers, corners, strengths, strict=True):
    layer[y : y + 6, x : x + 6] = strength
  if model.compositing.mask_channels:
    layers = np.concatenate([layers, 1.0 * (layers[..., :1] > 0)], -1)
  return layers


def explained(model, params, image, layers, probs):
  """Count, order of objects and probabilities after `leave_out`."""
  latents, rolled = air.parse(model, params, image)
  numbers = jnp.arange(3.0)[:, None] * jnp.ones(3)
  canvases = rendering.compose(model.compositing, jnp.zeros_like(image), jnp.asarray(layers))
  rolled = rolled._replace(z_where=numbers, painted=jnp.asarray(layers), canvases=canvases)
  latents = latents._replace(z_where=numbers)
  found, again, log_probs = without_ink.leave_out(
    model, params, image, latents, rolled, jnp.log(jnp.asarray(probs))
  )
  order = found.z_where[:, 0].astype(int).tolist()
  np.testing.assert_array_equal(again.painted, layers[order])
  return int(found.count), order, np.exp(log_probs)


@pytest.fixture(params=['add', 'over'])
def scene(request, model):
  return samples.variant(model, compositing=request.param, max_steps=3)[:3]


def test_an_object_where_nothing_is_goes_last_and_probabilities_follow(scene):
  model, params, image = scene
  layers = layers_of(model, [0.9, 0.02, 0.8])
  image = jnp.asarray(layers[[0, 2], ..., :1].sum(0))
  count, order, probs = explained(model, params, image, layers, [0.0, 0.1, 0.2, 0.7])
  assert count == 2 and order == [0, 2, 1]
  np.testing.assert_allclose(probs, [0, 0.3, 0.7, 0], atol=1e-6)


def test_objects_that_are_there_stay_as_they_are(scene):
  model, params, image = scene
  layers = layers_of(model, [0.9, 0.5, 0.8])
  image = jnp.asarray(layers[..., :1].sum(0))
  for probs in ([0.0, 0.1, 0.2, 0.7], [0.1, 0.5, 0.3, 0.1]):
    count, order, after = explained(model, params, image, layers, probs)
    assert count == np.argmax(probs) and order == [0, 1, 2]
    np.testing.assert_allclose(after, probs, atol=1e-6)


def test_of_two_that_paint_the_same_one_stays(model):
  model, params, image = samples.variant(model, compositing='over', max_steps=3)[:3]
  layers = layers_of(model, [0.9, 0.9, 0.8], [SQUARES[0], SQUARES[0], SQUARES[2]])
  image = jnp.asarray(layers[[0, 2], ..., :1].sum(0))
  count, order, _ = explained(model, params, image, layers, [0.0, 0.0, 0.0, 1.0])
  assert count == 2 and order in ([0, 2, 1], [1, 2, 0])


@pytest.mark.parametrize('success', [1e-2, 1e-12])
def test_what_an_object_must_explain_is_its_price(model, success):
  """A square of 36 pixels of strength a explains 36 a^2 / (2 sigma^2) nats."""
  model, params, image = samples.variant(model, success=success, max_steps=3)[:3]
  sigma = float(air.numbers(model, params).likelihood_std)
  least = np.sqrt(-2 * sigma**2 * np.log(success) / 36)
  for factor, expected in ((0.98, 2), (1.02, 3)):
    layers = layers_of(model, [0.9, factor * least, 0.9])
    image = jnp.asarray(layers.sum(0))
    count, _, _ = explained(model, params, image, layers, [0.0, 0.0, 0.0, 1.0])
    assert count == expected


def test_explain_gives_the_bound_of_the_whole_roll_out(model, params, image):
  _, rolled = air.parse(model, params, image)
  terms = air.elbo_terms(model, params, image, rolled, model.spec.success)
  q = jax.nn.softmax(terms.log_q)
  expected = q @ (terms.log_p - terms.nll - terms.kl_z - terms.log_q)
  *_, elbo = without_ink.explain(model, params, image)
  np.testing.assert_allclose(elbo, expected, rtol=1e-5)
