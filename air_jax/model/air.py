"""Attend, Infer, Repeat: the bound, parsing and generation; one module to import.

Eslami et al., "Attend, Infer, Repeat: fast scene understanding with generative models", NIPS 2016,
arXiv:1603.08575. The functions are pure and for one image; the caller vmaps them.

    B batch   T inference steps   H W canvas   h w glimpse   C channels   D code   E background

An image is explained in T inference steps (rollout.py). In each, the cell proposes a window
(z_where), reads the crop there, encodes it (z_what), decodes that code to a glimpse and paints the
glimpse at the window.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from air_jax.model import rendering, search
from air_jax.model.model import Model, build, init, numbers, priors, window_size
from air_jax.model.networks import Params
from air_jax.model.rollout import (
  inference_step,
  initial_step_state,
  render_object,
  reorder,
  reparameterize,
  rollout,
  sample_noise,
  stop_sample,
)
from air_jax.objectives import distributions
from air_jax.types import ElboTerms, Latents, Noise, Rollout

__all__ = [
  'Model',
  'build',
  'compose',
  'count_log_posterior',
  'decode',
  'elbo_terms',
  'inference_step',
  'init',
  'initial_step_state',
  'log_posterior',
  'numbers',
  'parse',
  'priors',
  'render_object',
  'render_objects',
  'reparameterize',
  'rollout',
  'sample_noise',
  'sample_prior',
  'stop_sample',
  'window_size',
]


def elbo_terms(
  model: Model,
  params: Params,
  image: Float[Array, 'H W C'],
  rolled: Rollout,
  success: Float[Array, ''] | float,
  kl_weight: Float[Array, ''] | float = 1.0,
) -> ElboTerms:
  """The terms of the evidence lower bound for every count k = 0..T at once.

      nll[k]  = -log p(x | canvas_k)
      kl_z[k] = KL(q(z_background) || p) + sum_{t<=k} KL(q(z_where,t) || p) + KL(q(z_what,t) || p)

  Args:
    model: the model.
    params: parameters of its networks.
    image: in [0, 1].
    rolled: the image's roll-out.
    success: success probability of the geometric prior on the count, > 0.
    kl_weight: in (0, 1], of kl_z and log_ratio during a warm-up, except for the part of sizes: a
      window whose size costs nothing covers two objects, and stays so.

  Returns:
    Terms in nats. The baseline reads the image and the roll-out, and passes no gradient to them.
  """
  where_prior, what_prior = priors(model, params)
  given = numbers(model, params)
  likelihood = model.likelihood.prefix_nll(image, rolled.canvases, rolled.additions, given)
  where_weights = jnp.array([1.0, kl_weight, kl_weight])
  kl = distributions.normal_kl(rolled.where, where_prior) @ where_weights
  kl += kl_weight * distributions.normal_kl(rolled.what, what_prior).sum(-1)
  ratio = _log_ratio(rolled.z_where, rolled.where, where_prior) @ where_weights
  ratio += kl_weight * _log_ratio(rolled.z_what, rolled.what, what_prior).sum(-1)
  background_kl = kl_weight * distributions.normal_kl(rolled.background, what_prior).sum()
  background_ratio = _log_ratio(rolled.z_background, rolled.background, what_prior).sum()
  baseline = None
  if model.spec.baseline:
    seen = image, rolled.presence_logits, rolled.z_where, rolled.z_what, rolled.z_background
    inputs = jnp.concatenate([part.ravel() for part in seen])
    baseline = model.networks.baseline(params, jax.lax.stop_gradient(inputs))
  return ElboTerms(
    nll=likelihood.nll,
    kl_z=background_kl + _prefix_sums(kl),
    log_ratio=kl_weight * background_ratio + _prefix_sums(ratio),
    log_q=distributions.count_log_probs(rolled.presence_logits),
    log_p=distributions.geometric_log_probs(success, model.spec.max_steps),
    baseline=baseline,
    products=likelihood.products,
  )


def log_posterior(
  model: Model, params: Params, image: Float[Array, 'H W C'], latents: Latents
) -> Float[Array, '']:
  """Log-probability of an explanation, log q(z, n | x), of its count and its objects, in nats."""
  given = Noise(jnp.concatenate([latents.z_where, latents.z_what], -1), latents.z_background)
  rolled = rollout(model, params, image, given, sample=lambda normal, given: given)
  objects = distributions.normal_log_prob(rolled.z_where, rolled.where).sum(-1)
  objects += distributions.normal_log_prob(rolled.z_what, rolled.what).sum(-1)
  background = distributions.normal_log_prob(rolled.z_background, rolled.background).sum()
  log_q = distributions.count_log_probs(rolled.presence_logits)
  return background + (_prefix_sums(objects) + log_q)[latents.count]


def parse(model: Model, params: Params, image: Float[Array, 'H W C']) -> tuple[Latents, Rollout]:
  """The most probable explanation of an image in [0, 1]: posterior means, mode of the count.

  The count's distribution is that of `count_log_posterior`. The latents are those of the roll-out;
  by a cell without memory, those that the presence head refuses come last. `search.improve` changes
  them where `model.sweeps` asks for it.
  """
  means = jax.tree.map(jnp.zeros_like, sample_noise(model, jax.random.key(0)))
  # A cell without memory goes on elsewhere after it found nothing.
  skips = not model.spec.remembers
  rolled = rollout(model, params, image, means, skip_refused=skips)
  if skips:
    refused_last = jnp.argsort(rolled.presence_logits < 0, stable=True)
    rolled = reorder(model, rolled, refused_last)
  if model.spec.sweeps:
    rolled = search.improve(model, params, image, rolled)
  count = distributions.count_mode(count_log_posterior(model, params, image, rolled))
  return Latents(rolled.z_where, rolled.z_what, count, rolled.z_background), rolled


def count_log_posterior(
  model: Model, params: Params, image: Float[Array, 'H W C'], rolled: Rollout
) -> Float[Array, ' T+1']:
  """Log-probability of each count given a roll-out, normalised, in nats.

  `model.count_by` says by which distribution: 'presence', the presence head's q(n), or
  'explanation', the exact posterior given the roll-out,

      p(n | x, z) ~ p(n) p(x | canvas_n) exp(-kl_z[n])

  which `objectives.collapsed` learns by: slow or failed presence heads do not affect it. With
  `model.sweeps` it is always used, because the objects then come from several roll-outs.
  """
  if model.spec.count_by == 'presence' and not model.spec.sweeps:
    return distributions.count_log_probs(rolled.presence_logits)
  terms = elbo_terms(model, params, image, rolled, model.spec.success)
  return jax.nn.log_softmax(terms.log_p - terms.nll - terms.kl_z)


def decode(model: Model, params: Params, latents: Latents) -> Float[Array, 'H W C']:
  """Renders a scene: the mean of p(x | z). Edit the latents to move, resize or swap objects.

  Rows of the latents from `count` on are not rendered.
  """
  _, layers = render_objects(model, params, latents)
  return compose(model, params, latents, layers)[latents.count]


def compose(
  model: Model, params: Params, latents: Latents, layers: Float[Array, 'T H W A']
) -> Float[Array, 'T+1 H W C']:
  """The canvas of a scene after each count 0..T of its objects, of their layers."""
  background = model.networks.decode_background(params, latents.z_background)
  return rendering.compose(model.compositing, background, layers)


def render_objects(
  model: Model, params: Params, latents: Latents
) -> tuple[Float[Array, 'T h w A'], Float[Array, 'T H W A']]:
  """Each object of a scene by itself, present or not: its glimpse, and its layer on the canvas."""
  return jax.vmap(lambda *z: render_object(model, params, *z))(latents.z_where, latents.z_what)


def sample_prior(
  model: Model,
  params: Params,
  key: PRNGKeyArray,
  success: Float[Array, ''] | float = 1.0,
) -> Latents:
  """Samples a scene's latents from the prior. The key is consumed.

  Args:
    model: the model.
    params: parameters of its networks.
    key: PRNG key.
    success: success probability of the count's geometric prior; with 1 all counts 0..T are equally
      likely (the annealed value would leave nearly all scenes empty).
  """
  spec = model.spec
  where_prior, what_prior = priors(model, params)
  where_key, what_key, count_key, background_key = jax.random.split(key, 4)
  z_where = jax.random.normal(where_key, (spec.max_steps, 3))
  z_what = jax.random.normal(what_key, (spec.max_steps, spec.code_size))
  z_background = jax.random.normal(background_key, (spec.background_code_size,))
  log_p = distributions.geometric_log_probs(success, spec.max_steps)
  return Latents(
    reparameterize(where_prior, z_where),
    reparameterize(what_prior, z_what),
    distributions.count_sample(count_key, log_p),
    reparameterize(what_prior, z_background),
  )


def _log_ratio(z, q, p):
  return distributions.normal_log_prob(z, q) - distributions.normal_log_prob(z, p)


def _prefix_sums(x: Float[Array, ' T']) -> Float[Array, ' T+1']:
  return jnp.concatenate([jnp.zeros_like(x[:1]), jnp.cumsum(x)])
