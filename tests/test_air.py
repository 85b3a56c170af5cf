"""The roll-out and the bound against loops, enumeration and sampling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
import scipy.special
import scipy.stats

from air_jax import objectives
from air_jax.model import air
from air_jax.model import spatial_transformer as transformer
from air_jax.model.parts import Seen
from air_jax.objectives import distributions
from air_jax.types import ElboTerms, Latents, Noise

VARIANTS = {
  'plain': {},
  'voting': {'cell': 'voting'},
  'residual': {'residual': True},
  'constant background': {'background': 'constant'},
  'coloured scenes': {
    'cell': 'voting', 'background': 'latent', 'background_code_size': 2, 'channels': 3,
  },
  'objects hide others': {'cell': 'voting', 'background': 'constant', 'compositing': 'over'},
}  # fmt: skip


@pytest.fixture(params=VARIANTS)
def variant(request, model):
  return samples.variant(model, baseline=True, **VARIANTS[request.param])


@pytest.fixture
def plain(model):
  return samples.variant(model, baseline=True)


@pytest.fixture
def coloured(model):
  return samples.variant(model, baseline=True, **VARIANTS['coloured scenes'])


@jax.jit
def _differentiate(model, params, image, noise, weights):
  def terms(params, noise):
    rolled = air.rollout(model, params, image, noise)
    return air.elbo_terms(model, params, image, rolled, samples.SUCCESS), rolled

  terms, pull_back, rolled = jax.vjp(terms, params, noise, has_aux=True)
  return rolled, terms, *pull_back(weights)


def _run(model, params, image, noise, **weights):
  """The roll-out, its terms, and the gradient of their weighted sum by parameters and by noise.

  Weights are given like `nll=[0, 1, 0, 0]`. One program makes everything, for compiling is what
  takes time in these tests.
  """
  none = ElboTerms(*(jnp.zeros(4) for _ in range(5)), jnp.zeros(3), jnp.zeros((4, 4)))
  weights = jax.tree.map(jnp.float32, weights, is_leaf=lambda x: isinstance(x, list))
  return _differentiate(model, params, image, noise, none._replace(**weights))


def _is_zero(tree):
  return all((leaf == 0).all() for leaf in jax.tree.leaves(tree))


@jax.jit
def _step(model, params, image, background, noise, state, z, canvas, through):
  """One step of the cell, which sees no background, and the canvas with what it painted.

  `through` is the light that objects so far let through to what is behind them.
  """
  spec, nets = model.spec, model.networks
  painted, image = canvas - background, image - background
  left = through * image if spec.compositing == 'over' else image - painted
  seen = Seen(image, nets.cell.encode(params, image), left, z, False, 0.42, 0.42)
  state, (h, where, mask) = nets.cell.find(params, state, seen)
  z_where = where.mean + noise[:3] * where.std
  window = jnp.array([jax.nn.sigmoid(z_where[0]), *jnp.tanh(z_where[1:])])
  own = left if spec.compositing == 'over' else image
  own = own if mask is None else mask * own
  what = nets.encode_glimpse(params, transformer.crop(own, window, spec.glimpse_size))
  z_what = what.mean + noise[3:] * what.std
  layer = transformer.paint(nets.decode_glimpse(params, z_what), window, spec.canvas_size)
  if spec.compositing == 'over':
    behind, mask = canvas - through * background, layer[..., -1:]
    canvas = behind + through * (layer[..., :-1] + (1 - mask) * background)
    through *= 1 - mask
  else:
    canvas += layer
  z = jnp.concatenate([z_where, z_what])
  return nets.presence(params, h), where, what, state, z, canvas, through


def _divergence(q, noise, mean, std):
  """KL(q || N(mean, std)), and the log-ratio of the two at the sample made of the noise."""
  normal, (q_mean, q_std) = scipy.stats.norm, np.float64(q)
  # KL is the cross-entropy of q and p minus the entropy of q.
  cross = 0.5 * (q_std**2 + (q_mean - mean) ** 2) / std**2 - normal.logpdf(0, 0, std)
  z = q_mean + q_std * noise
  ratio = normal.logpdf(z, q_mean, q_std) - normal.logpdf(z, mean, std)
  return np.array([(cross - normal.entropy(q_mean, q_std)).sum(), ratio.sum()])


def _cost_of_count(model, params, image, noise, count):
  """nll, KL, log-ratio and log q of a count, rolled out to that count and no further."""
  spec, nets = model.spec, model.networks
  prior_mean = np.array([np.log(0.42 / 0.58), 0, 0] + spec.code_size * [0])
  prior_std = np.array([0.05, 1, 1] + spec.code_size * [1])
  state, z = nets.cell.initial_state(params), jnp.zeros(3 + spec.code_size)
  behind = nets.encode_background(params, image)
  background = nets.decode_background(params, behind.mean + noise.background * behind.std)
  divergence = _divergence(behind, noise.background, 0, 1)
  canvas, through, log_q = background, jnp.ones((*background.shape[:2], 1)), 0.0
  for step, eps in enumerate(noise.objects):
    new = _step(model, params, image, background, eps, state, z, canvas, through)
    logit, where, what, state, z, painted, through = new
    go_on = scipy.special.expit(float(logit))
    if step == count:
      log_q += np.log(1 - go_on)
      break
    log_q += np.log(go_on)
    canvas = painted
    q = [np.concatenate(pair) for pair in zip(where, what, strict=True)]
    divergence += _divergence(q, eps, prior_mean, prior_std)
  nll = -scipy.stats.norm.logpdf(image, canvas, model.numbers.likelihood_std).sum()
  return nll, *divergence, log_q


def test_one_rollout_gives_the_elbo_that_separate_ones_give(variant):
  model, params, image, noise = variant
  parts = [_cost_of_count(model, params, image, noise, count) for count in range(4)]
  nll, kl_z, log_ratio, log_q = np.array(parts).T
  log_p = np.log(samples.SUCCESS ** np.arange(4) / sum(samples.SUCCESS ** np.arange(4)))
  elbo = -np.exp(log_q) @ (nll + kl_z + log_q - log_p)
  _, terms, *_ = _run(model, params, image, noise)
  np.testing.assert_allclose(terms.nll, nll, rtol=1e-5)
  np.testing.assert_allclose(terms.kl_z, kl_z, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(terms.log_ratio, log_ratio, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(terms.log_q, log_q, rtol=1e-4)
  np.testing.assert_allclose(objectives.elbo(terms), elbo, rtol=1e-5)
  np.testing.assert_allclose(objectives.exact(terms, None), -elbo, rtol=1e-5)


def test_steps_after_the_stop_get_exactly_zero_gradient(variant):
  for name in ('nll', 'kl_z', 'log_ratio', 'log_q'):
    for count, weights in enumerate(jnp.eye(4)):
      by_noise = _run(*variant, **{name: weights})[-1].objects
      assert (by_noise[count:] == 0).all(), (name, count)
      # No decision follows the last object, and without memory none follows any by a gradient.
      decisions = 2 if variant[0].spec.cell == 'lstm' else 0
      earlier = min(count, decisions) if name == 'log_q' else count
      assert (by_noise[:earlier] != 0).any(1).all(), (name, count)


def _taught(variant, **weights):
  """The parts of the model that get a gradient."""
  by_params = _run(*variant, **weights)[2]
  return {part for part, gradient in by_params.items() if not _is_zero(gradient)}


def test_an_empty_scene_teaches_nothing_about_objects(variant):
  for name in ('nll', 'kl_z', 'log_ratio'):
    of_none = _taught(variant, **{name: [1, 0, 0, 0]})
    of_one = _taught(variant, **{name: [0, 1, 0, 0]})
    assert all(part.startswith('background') for part in of_none)
    place = 'location_head' if variant[0].spec.cell == 'lstm' else 'look_1'
    assert {'glimpse_encoder', place} <= of_one


def test_only_the_picture_teaches_a_background_beside_its_own_kl(model, coloured):
  # The cell sees what the background leaves to explain, but does not draw it into its causes.
  ends = {'background_encoder', 'background_decoder'}
  assert _taught(coloured, nll=[1, 0, 0, 0]) == ends
  assert _taught(coloured, kl_z=[1, 0, 0, 0]) == {'background_encoder'}
  assert _taught(coloured, kl_z=[1, 2, 3, 4]) & ends == {'background_encoder'}
  assert _taught(coloured, kl_z=[-1, 1, 0, 0]) & ends == set()
  assert _taught(coloured, log_q=[1, 2, 3, 4]) & ends == set()
  constant = samples.variant(model, baseline=True, **VARIANTS['constant background'])
  assert _taught(constant, nll=[1, 0, 0, 0]) == {'background_image'}
  for name in ('kl_z', 'log_q'):
    assert 'background_image' not in _taught(constant, **{name: [1, 2, 3, 4]})


def test_warm_up_lightens_all_divergences_but_those_of_sizes(coloured):
  model, params, image, noise = coloured
  where_prior, what_prior = air.priors(model, params)

  @jax.jit
  def run(weight):
    rolled = air.rollout(model, params, image, noise)
    return rolled, air.elbo_terms(model, params, image, rolled, samples.SUCCESS, weight)

  (rolled, full), (_, light) = run(1.0), run(0.1)
  size = distributions.normal_kl(rolled.where, where_prior)[:, 0]
  ratio = distributions.normal_log_prob(rolled.z_where, rolled.where)
  ratio = (ratio - distributions.normal_log_prob(rolled.z_where, where_prior))[:, 0]
  for name, part in (('kl_z', size), ('log_ratio', ratio)):
    expected = 0.1 * getattr(full, name) + 0.9 * np.cumsum([0.0, *part])
    np.testing.assert_allclose(getattr(light, name), expected, rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(light.nll, full.nll)


def test_a_learned_size_prior_starts_as_configured_and_moves_to_the_sizes_found(model):
  model, params, image, noise = samples.variant(model, learn_size_prior=True)
  fixed, fixed_params, *_ = samples.variant(model, learn_size_prior=False)
  for ours, theirs in zip(
    air.priors(model, params)[0], air.priors(fixed, fixed_params)[0], strict=True
  ):
    np.testing.assert_allclose(ours, theirs)
  params['size_prior'] = {'mean_shift': 0.5, 'log_std_factor': -0.2}
  mean, std = air.priors(model, params)[0]
  np.testing.assert_allclose(mean, [np.log(0.42 / 0.58) + 0.5, 0, 0], rtol=1e-6)
  np.testing.assert_allclose(std, [0.05 * np.exp(-0.2), 1, 1], rtol=1e-6)

  @jax.jit
  @jax.grad
  def slope(change):
    prior = {'mean_shift': change[0], 'log_std_factor': change[1]}
    there = params | {'size_prior': prior}
    rolled = air.rollout(model, there, image, noise)
    return air.elbo_terms(model, there, image, rolled, samples.SUCCESS).kl_z[3]

  # The best Gaussian has the mean and the mean square deviation of what was found.
  where = air.rollout(model, params, image, noise).where
  found = where.mean[:, 0]
  best = found.mean(), np.sqrt(np.mean(where.std[:, 0] ** 2 + (found - found.mean()) ** 2))
  change = jnp.array([best[0] - np.log(0.42 / 0.58), np.log(best[1] / 0.05)])
  np.testing.assert_allclose(slope(change), 0, atol=1e-3)
  assert slope(change + 0.1).min() > 0.01 and slope(change - 0.1).max() < -0.01


def test_costs_teach_the_presence_head_nothing(plain):
  for name in ('nll', 'kl_z', 'log_ratio', 'log_p'):
    assert 'presence_head' not in _taught(plain, **{name: [1, 2, 3, 4]})
  assert 'presence_head' in _taught(plain, log_q=[1, 2, 3, 4])


@pytest.mark.parametrize('variant', ('residual', 'objects hide others'), indirect=True)
def test_the_residual_feeds_back_the_canvas_but_no_gradient(variant):
  model, params, image, noise = variant
  _, terms, by_params, _ = _run(model, params, image, noise, log_q=[1, 2, 3, 4])
  part = 'attention' if model.spec.residual else 'patches'
  assert _is_zero(by_params['glimpse_decoder']) and not _is_zero(by_params[part])
  brighter = jax.tree.map(lambda leaf: leaf + 0.5, params['glimpse_decoder'])
  _, new_terms, *_ = _run(model, params | {'glimpse_decoder': brighter}, image, noise)
  change = new_terms.log_q - terms.log_q
  # Count 0 is decided at the first step, which sees the bare image.
  assert change[0] == 0 and (change[1:] != 0).all()


def test_the_baseline_sees_image_and_rollout_and_moves_nothing_but_itself(variant):
  model, params, image, noise = variant
  rolled, terms, by_params, _ = _run(model, params, image, noise, baseline=[1, 1, 1])
  seen = image, rolled.presence_logits, rolled.z_where, rolled.z_what, rolled.z_background
  baseline = model.networks.baseline(params, jnp.concatenate([part.ravel() for part in seen]))
  assert baseline.shape == (3,)
  np.testing.assert_allclose(terms.baseline, baseline, rtol=1e-4)
  assert not _is_zero(by_params.pop('baseline'))
  assert _is_zero(by_params)


@pytest.mark.parametrize('variant', ('plain', 'objects hide others'), indirect=True)
def test_products_tell_the_cost_of_any_share_of_what_is_painted(variant):
  model, params, image, noise = variant
  rolled, terms, *_ = _run(model, params, image, noise)
  shares = np.array([0.7, 0.4, 0.1])
  canvas = rolled.canvases[0] + np.einsum('t,thwc->hwc', shares, np.diff(rolled.canvases, axis=0))
  expected = -scipy.stats.norm.logpdf(image, canvas, model.numbers.likelihood_std).sum()
  weights = np.array([1.0, *-shares])
  change = weights @ terms.products @ weights - terms.products[0, 0]
  np.testing.assert_allclose(terms.nll[0] + 0.5 * change, expected, rtol=1e-5)


@pytest.mark.parametrize('variant', ('plain', 'coloured scenes'), indirect=True)
def test_posterior_of_an_explanation_is_that_of_its_steps_up_to_its_count(variant):
  model, params, image, noise = variant
  rolled = _run(model, params, image, noise)[0]
  log_posterior = jax.jit(air.log_posterior)
  log_pdf = scipy.stats.norm.logpdf
  each = log_pdf(rolled.z_where, *rolled.where).sum(1) + log_pdf(rolled.z_what, *rolled.what).sum(1)
  behind = log_pdf(rolled.z_background, *rolled.background).sum()
  go_on = scipy.special.log_expit(rolled.presence_logits)
  stop = np.append(scipy.special.log_expit(-rolled.presence_logits), 0.0)
  for count in range(4):
    latents = Latents(rolled.z_where, rolled.z_what, jnp.int32(count), rolled.z_background)
    expected = behind + each[:count].sum() + go_on[:count].sum() + stop[count]
    np.testing.assert_allclose(log_posterior(model, params, image, latents), expected, rtol=1e-4)


def test_stopped_samples_are_the_same_and_pass_nothing_on(coloured):
  model, params, image, noise = coloured

  @functools.partial(jax.jit, static_argnums=1)
  def run(params, sample):
    rolled = air.rollout(model, params, image, noise, sample)
    return air.elbo_terms(model, params, image, rolled, samples.SUCCESS)

  ours, theirs = (run(params, sample) for sample in (air.stop_sample, air.reparameterize))
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)
  slope = jax.jit(jax.grad(lambda params: run(params, air.stop_sample).nll.sum()))(params)
  taught = {part for part, gradient in slope.items() if not _is_zero(gradient)}
  assert taught == {'glimpse_decoder', 'background_decoder'}
  slope = jax.jit(jax.grad(lambda params: run(params, air.stop_sample).log_ratio[2]))(params)
  assert _is_zero([slope['glimpse_decoder'], slope['background_decoder'], slope['presence_head']])


def test_a_batch_of_rollouts_is_a_loop_of_single_ones(coloured):
  model, params, image, noise = coloured
  images = jnp.stack([image, image**2, 1 - image])
  noises = Noise(*(jnp.stack([part, -part, 0 * part]) for part in noise))
  batch = jax.jit(jax.vmap(functools.partial(samples.terms, model, params)))(images, noises)
  loop = [
    _run(model, params, image, Noise(*noise))[1]
    for image, *noise in zip(images, *noises, strict=True)
  ]
  expected = jax.tree.map(lambda *each: np.stack(each), *loop)
  jax.tree.map(
    lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4),
    batch._replace(products=batch.products / 1e3),  # of thousands of pixels
    expected._replace(products=expected.products / 1e3),
  )


def test_sizes_have_the_same_prior_in_pixels_on_another_canvas(model):
  small, params, *_ = samples.variant(model, cell='voting')
  large = samples.changed(small, canvas_size=200)
  where, other = (air.priors(each, params)[0] for each in (small, large))
  size, other_size = scipy.special.expit(where.mean[0]), scipy.special.expit(other.mean[0])
  np.testing.assert_allclose(200 * other_size, 50 * size, rtol=1e-5)
  # A deviation as many pixels wide, to first order.
  pixels, other_pixels = 50 * size * (1 - size), 200 * other_size * (1 - other_size)
  np.testing.assert_allclose(other_pixels * other.std[0], pixels * where.std[0], rtol=1e-5)
  np.testing.assert_array_equal(other.mean[1:], where.mean[1:])
