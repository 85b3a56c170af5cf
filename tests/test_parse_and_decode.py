"""Parsing and decoding: what the most probable explanation is, and what edited latents render."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
import scipy.special
import scipy.stats

from air_jax.model import air
from air_jax.objectives import distributions
from air_jax.types import Latents

VARIANTS = {
  'plain': {},
  'coloured scenes': {
    'residual': True, 'background': 'latent', 'background_code_size': 2, 'channels': 3,
  },
}  # fmt: skip

_parse = jax.jit(air.parse)
_decode = jax.jit(air.decode)


@pytest.fixture(params=VARIANTS)
def variant(request, model):
  return samples.variant(model, baseline=True, **VARIANTS[request.param])


@pytest.fixture
def plain(model):
  return samples.variant(model, baseline=True)


@pytest.fixture(scope='module')
def latents(model):
  """Three objects, the first well inside the canvas."""
  z_what = jax.random.normal(jax.random.key(3), (3, model.spec.code_size))
  z_where = jnp.array([[-1.0, -0.3, 0.2], [-0.5, 0.5, 0.5], [-0.2, 0.1, -0.6]])
  return Latents(z_where, z_what, jnp.int32(1), jnp.zeros(0))


def test_parse_takes_posterior_means_and_the_most_probable_count(variant):
  model, params, image, _ = variant
  blind = params | {'presence_head': jax.tree.map(jnp.zeros_like, params['presence_head'])}
  for used, count in ((params, 3), (blind, 0)):
    latents, rolled = _parse(model, used, image)
    assert latents.count == count
    np.testing.assert_allclose(latents.z_where, rolled.where.mean, rtol=1e-6)
    np.testing.assert_allclose(latents.z_what, rolled.what.mean, rtol=1e-6)
    np.testing.assert_allclose(latents.z_background, rolled.background.mean, rtol=1e-6)
    decoded = _decode(model, used, latents)
    np.testing.assert_allclose(decoded, rolled.canvases[count], atol=1e-6)


def test_counts_by_explanation_are_of_the_canvas_that_explains_best(plain):
  """Whatever the presence head believes; here it is sure of three."""
  model, params, image, _ = plain
  changes = {'count_by': 'explanation', 'success': 0.2}
  model = samples.changed(model, **changes)
  chosen = set()
  std = model.numbers.likelihood_std
  for shown in (image, jnp.zeros_like(image)):
    latents, rolled = _parse(model, params, shown)
    where, what = air.priors(model, params)
    kl = [
      distributions.normal_kl(q, p).sum(-1) for q, p in ((rolled.where, where), (rolled.what, what))
    ]
    costs = [
      -scipy.stats.norm.logpdf(shown, rolled.canvases[k], std).sum()
      + sum(each[:k].sum() for each in kl)
      - k * np.log(0.2)
      for k in range(4)
    ]
    assert latents.count == np.argmin(costs)
    chosen.add(int(latents.count))
  assert chosen == {0, 3}


def test_decoding_any_count_gives_the_canvas_after_as_many_steps(variant):
  model, params, image, _ = variant
  latents, rolled = _parse(model, params, image)
  background = model.networks.decode_background(params, latents.z_background)
  for count in range(4):
    decoded = _decode(model, params, latents._replace(count=jnp.int32(count)))
    np.testing.assert_allclose(decoded, rolled.canvases[count], atol=1e-6)
    assert np.allclose(decoded, background, atol=1e-6) == (count == 0)
  assert bool(background.any()) == (model.spec.background == 'latent')


def test_editing_an_objects_place_moves_and_resizes_its_ink(plain, latents):
  model, params, *_ = plain

  def ink(z_where):
    moved = latents._replace(z_where=latents.z_where.at[0].set(jnp.array(z_where)))
    canvas = np.asarray(_decode(model, params, moved))[..., 0]
    centre = np.indices(canvas.shape).reshape(2, -1) @ canvas.ravel() / canvas.sum()
    return canvas.sum(), *centre

  mass, row, column = ink([-1.0, -0.3, 0.2])
  right = ink([-1.0, np.arctanh(np.tanh(-0.3) + 2 * 10 / 50), 0.2])
  np.testing.assert_allclose(right, (mass, row, column + 10), rtol=1e-3)
  down = ink([-1.0, -0.3, np.arctanh(np.tanh(0.2) + 2 * 5 / 50)])
  np.testing.assert_allclose(down, (mass, row + 5, column), rtol=1e-3)
  larger = ink([scipy.special.logit(1.4 * scipy.special.expit(-1.0)), -0.3, 0.2])
  np.testing.assert_allclose(larger[0], 1.4**2 * mass, rtol=0.02)
