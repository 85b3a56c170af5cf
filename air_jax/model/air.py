"""Attend, Infer, Repeat: the cell, its roll-out, the terms of the bound, generation.

Eslami et al., "Attend, Infer, Repeat: fast scene understanding with generative models", NIPS 2016,
arXiv:1603.08575. The functions are pure and for one image; the caller vmaps them. They take a
`Model`, which holds no state: the configuration and the networks as functions.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from air_jax.model import spatial_transformer as transformer
from air_jax.objectives import distributions
from air_jax.types import ElboTerms, Latents, Noise, Normal, Rollout


class Model(NamedTuple):
  """What the functions below need to know; parameters travel apart."""

  config: object  # air_jax.config.ModelConfig
  networks: object  # air_jax.networks.Networks


def draw_noise(model, key, shape=()):
  """Standard normal noise for `rollout`. The key is consumed.

  Args:
    model: `Model`.
    key: PRNG key.
    shape: leading axes, such as (B,) for a batch.

  Returns:
    `Noise` with these leading axes; zeros in its place make a roll-out take posterior means.
  """
  config = model.config
  object_key, background_key = jax.random.split(key)
  return Noise(
    jax.random.normal(object_key, (*shape, config.max_steps, 3 + config.code_size)),
    jax.random.normal(background_key, (*shape, config.background_code_size)),
  )


def reparameterise(normal, noise):
  """A sample of a Gaussian that is differentiable in mean and deviation: mean + std * noise."""
  return normal.mean + normal.std * noise


def stop_sample(normal, noise):
  """The same sample as a given number, which no gradient passes."""
  return jax.lax.stop_gradient(reparameterise(normal, noise))


def rollout(model, params, image, noise, sample=reparameterise):
  """Runs the cell for all T steps, as if each found an object.

  Steps after the n-th cannot influence what was painted up to it, so that this one roll-out serves
  every count (see `elbo_terms`).

  Args:
    model: `Model`.
    params: parameters of its networks.
    image: [H, W, C] in [0, 1].
    noise: `Noise` from `draw_noise`; the roll-out is a deterministic function of it.
    sample: `Normal`, noise -> latents. `reparameterise`, `stop_sample`, or any other.

  Returns:
    `Rollout`.
  """
  config, nets = model
  behind = nets.encode_background(params, image)
  z_background = sample(behind, noise.background)
  background = nets.decode_background(params, z_background)
  # What the cell looks for and at is what the background leaves to explain.
  foreground = image - jax.lax.stop_gradient(background)
  image_gates = nets.encode_image(params, foreground)

  def step(carry, noise):
    state, z, canvas = carry
    attended = nets.attend(params, foreground - canvas)
    state, h = nets.recur(params, state, image_gates, jnp.concatenate([z, attended]))
    where = nets.location(params, h, attended)
    z_where = sample(where, noise[:3])
    crop = transformer.crop(foreground, transformer.place(z_where), config.glimpse_size)
    what = nets.encode_glimpse(params, crop)
    z_what = sample(what, noise[3:])
    drawn = _draw(model, params, z_where, z_what) if config.residual else None
    if config.residual:
      canvas += jax.lax.stop_gradient(drawn[1])
    carry = (state, jnp.concatenate([z_where, z_what]), canvas)
    return carry, (h, where, what, z_where, z_what, crop, drawn)

  carry = (nets.initial_state(params), jnp.zeros(3 + config.code_size), jnp.zeros_like(image))
  # Unrolled, for T is small: XLA then fuses across steps, and counts their work in full.
  steps = jax.lax.scan(step, carry, noise.objects, unroll=True)[1]
  h, where, what, z_where, z_what, crops, drawn = steps
  # What does not feed back is done for all steps at once, in larger, faster matrix products.
  logits = jax.vmap(lambda h: nets.presence(params, h))(h)
  if not config.residual:
    drawn = jax.vmap(lambda *z: _draw(model, params, *z))(z_where, z_what)
  glimpses, painted = drawn
  canvases = jnp.stack(list(itertools.accumulate(painted, initial=background)))
  return Rollout(
    presence_logits=logits,
    where=where,
    what=what,
    background=behind,
    z_where=z_where,
    z_what=z_what,
    z_background=z_background,
    crops=crops,
    glimpses=glimpses,
    painted=painted,
    canvases=canvases,
  )


def elbo_terms(model, params, image, rolled, success, kl_weight=1.0):
  """The terms of the evidence lower bound for every count k = 0..T at once.

      nll[k]  = -sum_pixels log N(x | canvas_k, sigma)
      kl_z[k] = KL(q(z_background) || p) + sum_{t<=k} KL(q(z_where,t) || p) + KL(q(z_what,t) || p)

  Args:
    model: `Model`.
    params: parameters of its networks.
    image: [H, W, C] in [0, 1].
    rolled: the image's `Rollout`.
    success: [] success probability of the geometric prior on the count, > 0.
    kl_weight: [] in (0, 1], of kl_z and log_ratio for warm-ups, but for the part of sizes: a window
      whose size costs nothing swallows two objects, and stays so.

  Returns:
    `ElboTerms`. The baseline sees the image and the roll-out, stopped.
  """
  config, nets = model
  where_prior, what_prior = priors(model, params)
  products = _products(image, rolled, config.likelihood_std)
  where_weights = jnp.array([1.0, kl_weight, kl_weight])
  kl = distributions.normal_kl(rolled.where, where_prior) @ where_weights
  kl += kl_weight * distributions.normal_kl(rolled.what, what_prior).sum(-1)
  ratio = _log_ratio(rolled.z_where, rolled.where, where_prior) @ where_weights
  ratio += kl_weight * _log_ratio(rolled.z_what, rolled.what, what_prior).sum(-1)
  kl_behind = kl_weight * distributions.normal_kl(rolled.background, what_prior).sum()
  ratio_behind = kl_weight * _log_ratio(rolled.z_background, rolled.background, what_prior).sum()
  baseline = None
  if config.baseline:
    seen = image, rolled.presence_logits, rolled.z_where, rolled.z_what, rolled.z_background
    seen = jnp.concatenate([part.ravel() for part in seen])
    baseline = nets.baseline(params, jax.lax.stop_gradient(seen))[0]
  return ElboTerms(
    nll=_nll(products) + image.size * jnp.log(config.likelihood_std * jnp.sqrt(2.0 * jnp.pi)),
    kl_z=kl_behind + _prefix_sums(kl),
    log_ratio=ratio_behind + _prefix_sums(ratio),
    log_q=distributions.count_log_probs(rolled.presence_logits),
    log_p=distributions.geometric_log_probs(success, config.max_steps),
    baseline=baseline,
    products=products,
  )


def log_posterior(model, params, image, latents):
  """Log-probability of an explanation, log q(z, n | x), of its count and of what is present.

  Args:
    model: `Model`.
    params: parameters of its networks.
    image: [H, W, C] in [0, 1].
    latents: `Latents`.

  Returns:
    [] nats.
  """
  given = Noise(jnp.concatenate([latents.z_where, latents.z_what], -1), latents.z_background)
  rolled = rollout(model, params, image, given, sample=lambda normal, given: given)
  each = distributions.normal_log_prob(rolled.z_where, rolled.where).sum(-1)
  each += distributions.normal_log_prob(rolled.z_what, rolled.what).sum(-1)
  behind = distributions.normal_log_prob(rolled.z_background, rolled.background).sum()
  log_q = distributions.count_log_probs(rolled.presence_logits)
  return behind + (_prefix_sums(each) + log_q)[latents.count]


def parse(model, params, image):
  """The most probable explanation of an image: posterior means, mode of the count.

  `config.count_by` says whose: the presence head's q(n), or the exact posterior given the roll-out,

      p(n | x, z) ~ p(n) p(x | canvas_n) exp(-kl_z[n])

  which `objectives.collapsed` learns by: slower heads and failed ones do not disturb it.

  Args:
    model: `Model`.
    params: parameters of its networks.
    image: [H, W, C] in [0, 1].

  Returns:
    (`Latents`, the `Rollout` they come from).
  """
  config = model.config
  means = Noise(
    jnp.zeros((config.max_steps, 3 + config.code_size)), jnp.zeros(config.background_code_size)
  )
  rolled = rollout(model, params, image, means)
  count = distributions.count_mode(count_log_posterior(model, params, image, rolled))
  return Latents(rolled.z_where, rolled.z_what, count, rolled.z_background), rolled


def count_log_posterior(model, params, image, rolled):
  """Log-probability of each count given a roll-out, of the distribution that `parse` counts by.

  Args:
    model: `Model`.
    params: parameters of its networks.
    image: [H, W, C] in [0, 1].
    rolled: the image's `Rollout`.

  Returns:
    [T + 1] nats, normalised.
  """
  if model.config.count_by == 'presence':
    return distributions.count_log_probs(rolled.presence_logits)
  terms = elbo_terms(model, params, image, rolled, model.config.success)
  return jax.nn.log_softmax(terms.log_p - terms.nll - terms.kl_z)


def decode(model, params, latents):
  """Paints a scene: the mean of p(x | z). Edit the latents to move, resize or swap objects.

  Args:
    model: `Model`.
    params: parameters of its networks.
    latents: `Latents`; rows from `count` on are not painted.

  Returns:
    [H, W, C] canvas; overlapping objects add up.
  """
  _, painted = draw_objects(model, params, latents)
  present = jnp.arange(model.config.max_steps) < latents.count
  background = model.networks.decode_background(params, latents.z_background)
  return background + jnp.einsum('t,tijc->ijc', present.astype(painted.dtype), painted)


def draw_objects(model, params, latents):
  """Each object of a scene by itself, present or not.

  Args:
    model: `Model`.
    params: parameters of its networks.
    latents: `Latents`.

  Returns:
    ([T, h, w, C] glimpses, [T, H, W, C] the same at their places on empty canvases).
  """
  return jax.vmap(lambda *z: _draw(model, params, *z))(latents.z_where, latents.z_what)


def sample_prior(model, params, key, success=1.0):
  """Draws a scene's latents from the prior. The key is consumed.

  Args:
    model: `Model`.
    params: parameters of its networks.
    key: PRNG key.
    success: [] success probability of the count's geometric prior; 1 draws 0..T evenly (the
      annealed value would leave nearly all scenes empty).

  Returns:
    `Latents`.
  """
  config = model.config
  where_prior, what_prior = priors(model, params)
  where_key, what_key, count_key, background_key = jax.random.split(key, 4)
  z_where = jax.random.normal(where_key, (config.max_steps, 3))
  z_what = jax.random.normal(what_key, (config.max_steps, config.code_size))
  z_background = jax.random.normal(background_key, (config.background_code_size,))
  log_p = distributions.geometric_log_probs(success, config.max_steps)
  return Latents(
    where_prior.mean + where_prior.std * z_where,
    what_prior.mean + what_prior.std * z_what,
    distributions.count_sample(count_key, log_p),
    what_prior.mean + what_prior.std * z_background,
  )


def priors(model, params):
  """p(z_where), over raw (scale, x, y), and p(z_what): two `Normal`s with fields [3] and [].

  The prior of z_background is that of z_what. Where the prior of the scale is learned, it starts
  from the configured one and maximises the bound with all else (empirical Bayes).
  """
  config = model.config
  shift, log_factor = model.networks.size_prior(params)
  odds = config.size_prior_mean / (1.0 - config.size_prior_mean)
  mean = jnp.array([jnp.log(odds) + shift, 0.0, 0.0])
  size_std = config.size_prior_std * jnp.exp(log_factor)
  std = jnp.array([size_std, config.shift_prior_std, config.shift_prior_std])
  return Normal(mean, std), Normal(jnp.zeros(()), jnp.ones(()))


def _draw(model, params, z_where, z_what):
  """An object's glimpse, and the glimpse painted at its place on an empty canvas."""
  glimpse = model.networks.decode_glimpse(params, z_what)
  return glimpse, transformer.paint(glimpse, transformer.place(z_where), model.config.canvas_size)


def _products(image, rolled, std):
  """Inner products of the image less the background and of each paint, in units of std."""
  vectors = jnp.concatenate([(image - rolled.canvases[0])[None], rolled.painted]) / std
  vectors = vectors.reshape(len(vectors), -1)
  return jnp.dot(vectors, vectors.T, precision=jax.lax.Precision.HIGHEST)


def _nll(products):
  """Half the square of the image less the background and the first k paints, for each k.

  From the products: XLA's CPU is slow to make a canvas for each count and to go back through it.
  """
  signs = jnp.tri(len(products)).at[:, 1:].multiply(-1.0)
  return 0.5 * jnp.einsum('ki,ij,kj->k', signs, products, signs, precision='highest')


def _log_ratio(z, q, p):
  log_q = distributions.normal_log_prob(z, q)
  return log_q - distributions.normal_log_prob(z, p)


def _prefix_sums(x):
  return jnp.concatenate([jnp.zeros_like(x[:1]), jnp.cumsum(x)])
