"""A renderer in place of the glimpse decoder: poses of windows, depth, and the bound."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples

from air_jax import scene3d
from air_jax.config import schema
from air_jax.configs import inverse_graphics
from air_jax.errors import UserError
from air_jax.model import air, rendering, solids, spatial_transformer
from air_jax.scene3d import camera

SIDE = 24


def small(**changes):
  """The configuration on a small canvas, with small networks."""
  config = inverse_graphics.get_config()
  config.data.canvas_size = SIDE
  config.model.max_steps, config.model.glimpse_size, config.model.patch_size = 2, 8, 4
  for part in ('presence', 'location', 'glimpse_encoder', 'glimpse_decoder', 'baseline'):
    config.model[f'{part}_sizes'] = (8,)
  return schema.parse(samples.override(config, **changes)).model


@pytest.fixture(scope='module')
def model():
  return air.build(small())


@pytest.fixture(scope='module')
def params(model):
  return air.init(model, jax.random.key(0))


# --- windows and poses ----------------------------------------------------------------------------


def project(point):
  """Where a point is seen, in [-1, 1] from the left and from the top, and how far it is."""
  forward = np.subtract(camera.TARGET, camera.CAMERA)
  forward /= np.linalg.norm(forward)
  right = np.array([1.0, 0.0, 0.0])
  down = np.cross(forward, right)
  away = np.subtract(point, camera.CAMERA)
  depth = away @ forward
  return np.array([away @ right, away @ down]) / depth / np.tan(camera.ANGLE / 2), depth


def test_a_solid_stands_where_its_middle_is_seen():
  rng = np.random.default_rng(0)
  for _ in range(20):
    x, y, size = *rng.uniform(-1, 1, 2), rng.uniform(0.1, 0.5)
    seen, depth = project((x, y, size))
    radius = size / depth / np.tan(camera.ANGLE / 2)
    place, found = scene3d.stand(*jnp.float32(seen), jnp.float32(radius))
    np.testing.assert_allclose([*place, found], [x, y, size], atol=1e-4)


def test_what_is_rendered_fills_its_window_and_nothing_beyond(model):
  for z_where in ([0.0, 0.0, 0.0], [-0.7, 0.3, -0.2], [-1.0, -0.4, 0.4]):
    z_where = jnp.float32(z_where)
    for kind in range(3):
      z_what = jnp.zeros(5).at[kind].set(3.0).at[4].set(0.5)
      mask = np.asarray(model.networks.render(z_where, z_what))[..., -2] > 0.5
      scale, x, y = spatial_transformer.place(z_where)
      rows, columns = np.nonzero(mask)
      middle = np.array([columns.mean(), rows.mean()]) * 2 / (SIDE - 1) - 1
      assert np.abs(middle - np.array([x, y])).max() < 0.12
      width = (np.ptp(columns) + 1) / SIDE
      assert 0.5 * scale < width < scale


def test_kinds_and_rotation_of_a_code():
  turned = solids.pose(jnp.zeros(3), jnp.float32([0.0, 3.0, 0.0, 0.0, -2.0]))
  assert turned.kinds[1] > 0.99 and turned.kinds.sum() == pytest.approx(1)
  assert turned.rotation == pytest.approx(-np.pi / 8)


def test_a_vector_that_turns_once_turns_a_cube_until_it_looks_the_same(model):
  def seen(angle):
    code = jnp.float32([9.0, 0.0, 0.0, np.cos(angle), np.sin(angle)])
    return np.asarray(model.networks.render(jnp.zeros(3), code))

  jump = np.abs(seen(np.pi - 1e-4) - seen(-np.pi + 1e-4)).max()
  assert jump < 1e-3 < np.abs(seen(0.0) - seen(np.pi)).max()


def test_colours_of_a_code():
  coloured = solids.pose(jnp.zeros(3), jnp.arange(8.0))
  np.testing.assert_allclose(coloured.colour, jax.nn.sigmoid(jnp.array([5.0, 6.0, 7.0])))


def test_a_certain_kind_is_rendered_as_the_renderer_does(model):
  z_where, turn = jnp.float32([-0.5, 0.2, 0.1]), 0.4
  for kind in range(3):
    z_what = jnp.zeros(5).at[kind].set(9.0).at[3:].set([np.cos(4 * turn), np.sin(4 * turn)])
    light, mask, _ = jnp.moveaxis(model.networks.render(z_where, z_what), -1, 0)
    made = solids.pose(z_where, z_what)
    scene = scene3d.Solids(
      jnp.array([kind]), made.place[None], jnp.array([turn]), made.size[None], jnp.ones((1, 1))
    )
    expected = scene3d.render(scene, scene3d.View(SIDE, solids._SOFTNESS), 0.1)
    np.testing.assert_allclose(light + (1 - mask) * 0.1, expected[..., 0], atol=1e-4)


def test_differences_point_where_derivatives_do(model):
  by_differences = air.build(small(model__networks='air_jax.model.solids:build_with_differences'))
  z_where, z_what = jnp.float32([-0.5, 0.2, 0.1]), jnp.float32([9.0, 0.0, 0.0, 1.0, 0.4])
  goal = model.networks.render(z_where + jnp.float32([0.1, 0.05, -0.05]), z_what)[..., -2]

  def gradient(networks):
    def error(z_where):
      return ((networks.render(z_where, z_what)[..., -2] - goal) ** 2).sum()

    return jax.jit(jax.grad(error))(z_where)

  a, b = gradient(model.networks), gradient(by_differences.networks)
  assert a @ b > 0.9 * jnp.linalg.norm(a) * jnp.linalg.norm(b)


def test_gradients_are_finite_where_a_code_says_nothing():
  def seen(z_what):
    made = solids.layer(solids.pose(jnp.zeros(3), z_what), scene3d.View(SIDE, 0.04))
    return (made**2).sum()

  assert np.isfinite(jax.grad(seen)(jnp.zeros(5))).all()


# --- depth ----------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def layers():
  rng = np.random.default_rng(0)
  masks = rng.uniform(0, 1, (4, 5, 5, 1))
  colours = masks * rng.uniform(0, 1, (4, 5, 5, 3))
  depths = np.broadcast_to(np.array([2.0, 3.0, 1.0, 1.0]).reshape(4, 1, 1, 1), (4, 5, 5, 1))
  return jnp.float32(np.concatenate([colours, masks, depths], -1))


def test_canvases_are_those_painted_from_the_back(layers):
  background = jnp.full((5, 5, 3), 0.3)
  canvases = rendering.compose(rendering.Depth(), background, layers)
  for count in range(5):
    canvas = np.asarray(background)
    # Of the same depth, the earlier is in front.
    for k in sorted(range(count), key=lambda k: (-float(layers[k, 0, 0, -1]), -k)):
      mask = layers[k, ..., -2:-1]
      canvas = canvas * (1 - mask) + layers[k, ..., :-2]
    np.testing.assert_allclose(canvases[count], canvas, atol=1e-6)


def test_what_is_visible_adds_up_and_is_that_of_over_in_the_order_of_depths(layers):
  order = np.array([2, 3, 0, 1])
  made = rendering.Depth().visible(layers)
  expected = rendering.Over().visible(layers[order, ..., :-1])
  np.testing.assert_allclose(made[order], expected, atol=1e-6)


# --- the model ------------------------------------------------------------------------------------


def test_bound_of_every_count_is_that_of_a_roll_out_of_as_many_steps(model, params):
  image = jax.random.uniform(jax.random.key(1), (SIDE, SIDE, 1))
  noise = air.sample_noise(model, jax.random.key(2))
  rolled = air.rollout(model, params, image, noise)
  terms = air.elbo_terms(model, params, image, rolled, samples.SUCCESS)
  for count in range(3):
    canvas = rolled.canvases[0]
    order = sorted(range(count), key=lambda k: -float(rolled.painted[k, 0, 0, -1]))
    for k in order:
      canvas = canvas * (1 - rolled.painted[k, ..., -2:-1]) + rolled.painted[k, ..., :-2]
    std = model.numbers.likelihood_std
    expected = 0.5 * (((image - canvas) / std) ** 2 + jnp.log(2 * jnp.pi * std**2)).sum()
    np.testing.assert_allclose(terms.nll[count], expected, rtol=1e-4)


def test_there_is_no_decoder_to_learn_and_all_else_has_gradients(model, params):
  assert params['glimpse_decoder'] == {}
  image = jax.random.uniform(jax.random.key(1), (SIDE, SIDE, 1))
  noise = air.sample_noise(model, jax.random.key(2))

  @jax.jit
  @jax.grad
  def gradient(params):
    rolled = air.rollout(model, params, image, noise)
    terms = air.elbo_terms(model, params, image, rolled, samples.SUCCESS)
    return (terms.nll + terms.kl_z - terms.log_q).sum()

  found = gradient(params)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
  assert np.abs(found['glimpse_encoder']['output']['kernel']).max(0).min() > 0


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    ({'compositing': 'over'}, r"model\.compositing='over' .* must be 'depth'"),
    ({'code_size': 8}, r'model\.code_size=8 .* solids of 1 channels; it must be 5'),
    ({'channels': 3}, r'model\.code_size=5 .* solids of 3 channels; it must be 8'),
  ],
)
def test_models_that_cannot_be_are_refused(model, changes, says):
  with pytest.raises(UserError, match=says):
    solids.build(dataclasses.replace(model.spec, **changes))


def test_standard_networks_have_no_depth():
  with pytest.raises(UserError, match=r"compositing='depth' .* 'add' or 'over' with the standard"):
    small(model__networks='')
