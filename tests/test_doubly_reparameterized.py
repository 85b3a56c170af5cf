"""Doubly reparameterised gradients against the plain ones: the same mean, less variance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from air_jax.config import schema as configuration
from air_jax.model import air
from air_jax.objectives import multi_sample
from air_jax.training import train_step
from air_jax.types import ElboTerms

pytestmark = pytest.mark.slow

DRAWS, K = 4000, 3


def _learner(config, size, name):
  config.objective.update(
    name=name, particles=K, smoothing=0.4, final_smoothing=0.0, smoothing_hold=1,
    smoothing_steps=1, prior_start=0.5, prior_end=0.5, kl_warmup=0.7, kl_warmup_steps=100,
  )  # fmt: skip
  # A weak likelihood and wide posteriors, so that particles and counts share the weight.
  config.model.update(max_steps=2, likelihood_std=4.0, background='latent', cell_size=8)
  config.model.update(background_code_size=2, code_size=2, what_std_bias=0.9)
  config.model.glimpse_size, config.data.canvas_size = 5, size
  return train_step.build(configuration.parse(config))


@jax.jit
def _gradients(learner, params, step, image, keys):
  """Gradients of one image, by network, flat: [DRAWS, parameters]; one program for all steps."""

  def gradient(key):
    noise = air.sample_noise(learner.model, key, (K,))
    slope = jax.grad(lambda params: train_step.loss(learner, params, step, image, noise, key)[0])(
      params
    )
    return {
      part: jnp.concatenate([leaf.ravel()[:200] for leaf in jax.tree.leaves(of_part)])
      for part, of_part in slope.items()
    }

  return jax.lax.map(gradient, keys, batch_size=250)


@pytest.mark.parametrize(('step', 'smoothing'), ((0, 0.4), (2, 0.0)))
def test_mean_is_that_of_the_plain_gradient_and_variance_is_less(tiny_config, step, smoothing):
  image = jax.random.uniform(jax.random.key(1), (20, 20, 1))
  keys = jax.random.split(jax.random.key(3), DRAWS)
  learners = [_learner(tiny_config, 20, name) for name in ('collapsed_iwae', 'doubly_iwae')]
  assert all(each.schedules.smoothing(step) == pytest.approx(smoothing) for each in learners)
  params = jax.jit(train_step.init)(learners[0]).params
  plain, ours = (_gradients(each, params, step, image, keys) for each in learners)
  rng = np.random.default_rng(0)
  for part in plain:
    difference = np.asarray(ours[part] - plain[part], np.float64)  # of the same noise
    directions = rng.normal(size=(difference.shape[1], 5))
    along = difference @ directions
    error = along.std(0) / np.sqrt(DRAWS)
    assert (np.abs(along.mean(0)) < 4 * error + 1e-6).all(), part
  for part in ('location_head', 'glimpse_encoder', 'background_encoder'):
    assert np.any(ours[part] != plain[part])
    assert ours[part].var(0).sum() < plain[part].var(0).sum(), part
  np.testing.assert_allclose(ours['glimpse_decoder'], plain['glimpse_decoder'], atol=1e-3)


def test_latent_weights_are_those_of_latents_in_the_loss():
  rng = np.random.default_rng(1)
  nll, ratio = (jnp.asarray(rng.normal(0, 1, (K, 3)), jnp.float32) for _ in range(2))
  log_q = jnp.log(jnp.full((K, 3), 1 / 3))

  def terms(ratio):
    return ElboTerms(nll, None, ratio, log_q, log_q)

  slope = jax.grad(lambda ratio: multi_sample.collapsed_iwae(terms(ratio), None, 0.3))(ratio)
  expected = np.cumsum(slope[:, ::-1], 1)[:, ::-1]
  np.testing.assert_allclose(multi_sample.latent_weights(terms(ratio), 0.3), expected, rtol=1e-5)
  # Each moves with its own particle alone, as a softmax does.
  by_ratio = jax.jacrev(lambda ratio: multi_sample.latent_weights(terms(ratio), 0.0)[:, 0])(ratio)
  own = multi_sample.latent_weights(terms(ratio), 0.0)[:, 0]
  slopes = np.array([by_ratio[i, i].sum() for i in range(K)])
  np.testing.assert_allclose(slopes, -own * (1 - own), rtol=1e-4)
  others = [by_ratio[i, j] for i in range(K) for j in range(K) if i != j]
  np.testing.assert_array_equal(np.stack(others), 0)
