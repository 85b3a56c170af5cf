"""Doubly reparameterised gradients of `collapsed_iwae` (Tucker et al., 2019, arXiv:1810.04152).

The bound B of K particles depends on a latent's Gaussian N(m, s) in two ways: through the sample
z = m + s e, and through its density log q(z; m, s), which B weighs by some share c. The gradient by
the second way is a score function, and is exchanged for one by the first:

    E[c d log q(z; m, s) / d(m, s)] = E[(d c / d z) d z / d(m, s)]

As the share of an object is the probability that it counts at all (`particles.shares`), every step
has its own. What comes of it has the same mean and, near a good posterior, far less variance.
"""

import jax
import jax.numpy as jnp

from air_jax.objectives import multi_sample
from air_jax.types import Noise

_sg = jax.lax.stop_gradient


def stop_densities(rolled):
  """A `Rollout` whose Gaussians pass no gradient on, while its samples do."""
  stopped = {name: _sg(getattr(rolled, name)) for name in ('where', 'what', 'background')}
  return rolled._replace(**stopped)


def lesson(roll_out, noise, rolled, smoothing, kl_weight=1.0):
  """What the densities, stopped, would have taught, by way of the samples.

  Args:
    roll_out: `Noise` -> `ElboTerms` of a particle, in which no parameter passes a gradient.
    noise: `Noise` with a leading [K].
    rolled: `Rollout` with a leading [K], made of that noise, which passes gradients.
    smoothing: [] e in [0, 1], share of the uniform distribution of the count.
    kl_weight: [] of the densities, as `model.elbo_terms` has it: all but those of sizes.

  Returns:
    [] loss; only its gradient means anything.
  """

  def shares(noise):  # of all particles: that of each depends on its own noise alone
    return multi_sample.shares(jax.vmap(roll_out)(noise), smoothing).sum(0)

  _, pull = jax.vjp(shares, noise)
  # One by one: what leads to the noise of earlier steps is then not computed at all.
  by_noise = [pull(share)[0] for share in jnp.eye(noise.objects.shape[1] + 1)]
  slopes = Noise(
    jnp.stack([slope.objects[:, t] for t, slope in enumerate(by_noise[1:])], 1),
    by_noise[0].background,
  )
  # z = m + s e: a slope by e is s times that by z.
  z = jnp.concatenate([rolled.z_where, rolled.z_what], -1)
  std = jnp.concatenate([rolled.where.std, rolled.what.std], -1)
  weights = jnp.full(z.shape[-1], kl_weight).at[0].set(1.0)
  objects = weights * _sg(slopes.objects / std) * z
  behind = _sg(slopes.background / rolled.background.std) * rolled.z_background
  return objects.sum() + kl_weight * behind.sum()
