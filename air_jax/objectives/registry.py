"""Every loss by its name, and what it needs of roll-outs."""

from collections.abc import Callable
from typing import NamedTuple

from air_jax.objectives import count, multi_sample, per_step


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
  Estimator(count.exact, 'exact'),
  Estimator(count.collapsed),
  Estimator(count.reinforce, 'exact'),
  Estimator(count.nvil, 'exact', baseline=True),
  Estimator(per_step.nvil_to_go, 'exact', baseline=True),
  Estimator(per_step.mvd, 'exact'),
  Estimator(per_step.disarm, 'exact'),
  Estimator(per_step.concrete, temperature=True),
  Estimator(multi_sample.iwae, 'vimco', particles=1, baseline=True),
  Estimator(multi_sample.vimco, 'vimco', particles=2),
  Estimator(multi_sample.vimco_arithmetic, 'vimco', particles=2),
  Estimator(multi_sample.collapsed_iwae, 'collapsed_iwae', particles=1),
  Estimator(multi_sample.rws, particles=2, pathwise=False),
)
ESTIMATORS = {estimator.loss.__name__: estimator for estimator in _ALL} | {
  'doubly_iwae': Estimator(multi_sample.collapsed_iwae, 'collapsed_iwae', particles=1, doubly=True)
}
