"""Edits of latents: what they change, what they keep, and their limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples

from air_jax.inference import latent_edits
from air_jax.model import air
from air_jax.model import spatial_transformer as transformer
from air_jax.types import Latents


@pytest.fixture
def latents():
  where = jnp.array([[-0.3, 0.2, -0.5], [-0.2, -0.6, 0.4], [0.1, 0.0, 0.0]])
  what = jnp.arange(6.0).reshape(3, 2)
  return Latents(where, what, jnp.int32(2), jnp.zeros(0))


def window(latents, which):
  return np.asarray(transformer.place(latents.z_where[which]))


def assert_others_stay(before, after, which):
  others = np.arange(3) != which
  np.testing.assert_array_equal(after.z_where[others], before.z_where[others])
  np.testing.assert_array_equal(after.z_what, before.z_what)
  assert after.count == before.count


def test_move_is_by_fractions_of_the_canvas_and_stops_at_its_edge(latents):
  moved = latent_edits.move(latents, 1, down=0.1, right=-0.05)
  np.testing.assert_allclose(window(moved, 1) - window(latents, 1), [0, -0.1, 0.2], atol=1e-6)
  assert_others_stay(latents, moved, 1)
  far = window(latent_edits.move(latents, 0, down=-9, right=9), 0)
  np.testing.assert_allclose(far[1:], [1, -1], atol=2e-4)
  assert np.isfinite(latent_edits.move(latents, 0, down=-9, right=9).z_where).all()


def test_resize_keeps_the_centre_and_stops_at_the_canvas(latents):
  larger = latent_edits.resize(latents, 0, 1.5)
  np.testing.assert_allclose(window(larger, 0), window(latents, 0) * [1.5, 1, 1], rtol=1e-5)
  assert_others_stay(latents, larger, 0)
  for factor, scale in ((99.0, 1.0), (0.0, 0.0)):
    np.testing.assert_allclose(
      window(latent_edits.resize(latents, 0, factor), 0)[0], scale, atol=2e-4
    )


def test_swap_exchanges_appearance_only(latents):
  swapped = latent_edits.swap(latents, 0, 2)
  np.testing.assert_array_equal(swapped.z_what, [[4, 5], [2, 3], [0, 1]])
  np.testing.assert_array_equal(swapped.z_where, latents.z_where)


def test_remove_closes_the_gap_and_ignores_absent_objects(latents):
  removed = latent_edits.remove(latents, 0)
  assert removed.count == 1
  np.testing.assert_array_equal(removed.z_what[0], latents.z_what[1])
  np.testing.assert_array_equal(removed.z_where[0], latents.z_where[1])
  jax.tree.map(np.testing.assert_array_equal, latent_edits.remove(latents, 2), latents)


def test_the_front_has_number_0_and_the_others_keep_their_order(latents):
  three = latents._replace(count=jnp.int32(3))
  edited = latent_edits.to_front(three, 2)
  np.testing.assert_array_equal(edited.z_what, latents.z_what[jnp.array([2, 0, 1])])
  np.testing.assert_array_equal(edited.z_where, latents.z_where[jnp.array([2, 0, 1])])
  jax.tree.map(np.testing.assert_array_equal, latent_edits.to_front(latents, 2), latents)


def test_an_object_brought_to_the_front_hides_what_hid_it(model):
  model, params, *_ = samples.variant(model, compositing='over')
  where = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.1, 0.1], [0.0, 0.0, 0.0]])
  code = jax.random.normal(jax.random.key(3), (3, model.spec.code_size))
  latents = Latents(where, code, jnp.int32(2), jnp.zeros(0))
  edited = latent_edits.to_front(latents, 1)
  _, (front, behind, _) = air.render_objects(model, params, edited)
  expected = front[..., :1] + (1 - front[..., 1:]) * behind[..., :1]
  canvas = air.decode(model, params, edited)
  np.testing.assert_allclose(canvas, expected, atol=1e-6)
  assert np.abs(canvas - air.decode(model, params, latents)).max() > 1e-4


def test_a_moved_object_is_rendered_at_its_new_place(model, params):
  """A move by whole pixels shifts the canvas."""
  where = jnp.zeros((3, 3)).at[0].set(jnp.array([-0.8, -0.1, 0.05]))
  code = jax.random.normal(jax.random.key(3), (3, model.spec.code_size))
  latents = Latents(where, code, jnp.int32(1), jnp.zeros(model.spec.background_code_size))
  moved = latent_edits.move(latents, 0, down=5 / 50, right=-3 / 50)
  before, after = (np.asarray(air.decode(model, params, each)) for each in (latents, moved))
  assert before.max() > 0.01
  np.testing.assert_allclose(after[5:, :-3], before[:-5, 3:], atol=1e-4)
