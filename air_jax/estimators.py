"""Every loss by its name, and what it needs of roll-outs."""

from collections.abc import Callable
from typing import NamedTuple

from air_jax import objectives, particles, presences


class Estimator(NamedTuple):
  """A loss: terms, key, smoothing -> [] nats."""

  loss: Callable
  follows: str = ''  # the least noisy estimator with the same mean gradient; '': it has its own
  particles: int = 0  # fewest roll-outs of an image; 0: it is of one, and terms have no [K]
  baseline: bool = False  # whether it learns one
  pathwise: bool = True  # whether gradients pass through sampled where and what
  temperature: bool = False  # whether it takes one
  doubly: bool = False  # whether gradients are reparameterised doubly, see doubly.py


_ALL = (
  Estimator(objectives.exact, 'exact'),
  Estimator(objectives.collapsed),
  Estimator(objectives.reinforce, 'exact'),
  Estimator(objectives.nvil, 'exact', baseline=True),
  Estimator(presences.nvil_to_go, 'exact', baseline=True),
  Estimator(presences.mvd, 'exact'),
  Estimator(presences.disarm, 'exact'),
  Estimator(presences.concrete, temperature=True),
  Estimator(particles.iwae, 'vimco', particles=1, baseline=True),
  Estimator(particles.vimco, 'vimco', particles=2),
  Estimator(particles.vimco_arithmetic, 'vimco', particles=2),
  Estimator(particles.collapsed_iwae, 'collapsed_iwae', particles=1),
  Estimator(particles.rws, particles=2, pathwise=False),
)
ESTIMATORS = {estimator.loss.__name__: estimator for estimator in _ALL} | {
  'doubly_iwae': Estimator(particles.collapsed_iwae, 'collapsed_iwae', particles=1, doubly=True)
}
