"""Doubly reparameterised gradients of `collapsed_iwae` (Tucker et al., 2019, arXiv:1810.04152).

The bound B of K particles depends on a latent's Gaussian N(m, s) in two ways: through the sample
z = m + s e, and through its density log q(z; m, s), which B weighs by some c. The gradient through
the density is a score function, and is replaced by one through the sample:

    E[c d log q(z; m, s) / d(m, s)] = E[(d c / d z) d z / d(m, s)]

The weight of an object is the probability that it counts at all (`multi_sample.latent_weights`), so
that every inference step has its own. The result has the same mean and, near a good posterior, far
less variance.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from air_jax.objectives import multi_sample
from air_jax.types import ElboTerms, Noise, Rollout

_sg = jax.lax.stop_gradient


def stop_densities(rolled: Rollout) -> Rollout:
  """A roll-out whose Gaussians pass no gradient on, while its samples do."""
  stopped = {name: _sg(getattr(rolled, name)) for name in ('where', 'what', 'background')}
  return rolled._replace(**stopped)


def surrogate_loss(
  roll_out: Callable[[Noise], ElboTerms],
  noise: Noise,
  rolled: Rollout,
  smoothing: Float[Array, ''] | float,
  kl_weight: Float[Array, ''] | float = 1.0,
) -> Float[Array, '']:
  """A loss whose gradient replaces the one through the densities; its value means nothing.

  Args:
    roll_out: gives the terms of a particle, in which no parameter passes a gradient.
    noise: with a leading [K].
    rolled: with a leading [K], made of that noise, which passes gradients.
    smoothing: in [0, 1], weight of the uniform distribution of the count.
    kl_weight: of the densities, as in `air.elbo_terms`: of all but those of sizes.
  """

  def weights(noise):  # of all particles: that of each depends on its own noise alone
    return multi_sample.latent_weights(jax.vmap(roll_out)(noise), smoothing).sum(0)

  _, pull = jax.vjp(weights, noise)
  # One by one: what leads to the noise of earlier steps is then not computed at all.
  by_noise = [pull(weight)[0] for weight in jnp.eye(noise.objects.shape[1] + 1)]
  grads = Noise(
    jnp.stack([grad.objects[:, t] for t, grad in enumerate(by_noise[1:])], 1),
    by_noise[0].background,
  )
  # z = m + s e: a derivative by e is s times that by z.
  z = jnp.concatenate([rolled.z_where, rolled.z_what], -1)
  std = jnp.concatenate([rolled.where.std, rolled.what.std], -1)
  scale = jnp.full(z.shape[-1], kl_weight).at[0].set(1.0)
  objects = scale * _sg(grads.objects / std) * z
  background = _sg(grads.background / rolled.background.std) * rolled.z_background
  return objects.sum() + kl_weight * background.sum()
