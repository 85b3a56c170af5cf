"""The arrays that pass between the parts of AIR, each field with its shape.

Everything is for one image; `jax.vmap` adds particles, batch and seeds outside.
Letters: T maximum steps, H W canvas, h w glimpse, C channels (1 grey, 3 RGB), D code of an object,
E code of the background, N most objects in a data set.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

Array = jax.Array


class Normal(NamedTuple):
  """A diagonal Gaussian."""

  mean: Array  # [...]
  std: Array  # [...] > 0


class ModelNumbers(NamedTuple):
  """Numbers of a model that no program depends on: a member of a population has its own."""

  likelihood_std: Array | float  # of a pixel, in [0, 1]
  presence_bias: Array | float  # initial log-odds that a step finds an object
  where_std_bias: Array | float  # initial std of z_where is softplus of this
  what_std_bias: Array | float  # initial std of z_what is softplus of this
  output_bias: Array | float  # initial glimpses are sigmoid of this
  size_prior_mean: Array | float  # in (0, 1), an object's window as a fraction of the canvas
  size_prior_std: Array | float  # of the window's log-odds


class LabelledScenes(NamedTuple):
  """Images and their true contents, which are used for evaluation only."""

  images: UInt8[Array | np.ndarray, 'B H W C']
  counts: Int[Array | np.ndarray, ' B']  # int32, objects in the image; -1 where unknown
  boxes: Float[Array | np.ndarray, 'B N 4']  # (top, left, height, width) in pixels, 0: no object
  labels: Int[Array | np.ndarray, 'B N']  # int32, -1 where no object
  scales: Float[Array | np.ndarray, 'B N']  # 1 is the glyph's native size, 0 where no object
  rotations: Float[Array | np.ndarray, 'B N']  # radians clockwise, 0 where no object


class Noise(NamedTuple):
  """Standard normal noise behind the continuous latents of one image."""

  objects: Array  # [T, 3 + D]
  background: Array  # [E]


class Latents(NamedTuple):
  """A scene as AIR describes it: what is where, how much of it is there, and behind it."""

  z_where: Array  # [T, 3] raw (scale, x, y), see spatial_transformer.place
  z_what: Array  # [T, D]
  count: Array  # [] int32, the first `count` rows are present
  z_background: Array  # [E]


class Rollout(NamedTuple):
  """All T steps of the cell, taken as if every object were present."""

  presence_logits: Array  # [T] log-odds that step t finds one more object
  where: Normal  # [T, 3] q(z_where,t | x, z_<t)
  what: Normal  # [T, D] q(z_what,t | x, z_where,t)
  background: Normal  # [E] q(z_background | x)
  z_where: Array  # [T, 3] sample
  z_what: Array  # [T, D] sample
  z_background: Array  # [E] sample
  crops: Array  # [T, h, w, C] what the cell looked at
  glimpses: Array  # [T, h, w, C] what it painted, before placing
  painted: Array  # [T, H, W, C] the same at its place, each on an empty canvas
  canvases: Array  # [T + 1, H, W, C] the picture after 0..T objects


class Baseline(NamedTuple):
  """What a score function expects of the cost before it draws the count (objectives.nvil)."""

  guess: Array  # [T] nats: of the cost, and of what is left of it when presence t is drawn
  centre: Array  # [] nats, moving average of what the guess leaves; 0 where none is kept
  variance: Array  # [] nats^2, moving average of its square about that; 1 where none is kept


class ElboTerms(NamedTuple):
  """The terms of the bound for every count k = 0..T of one roll-out, in nats."""

  nll: Array  # [T + 1] -log p(x | first k objects)
  kl_z: Array  # [T + 1] KL of the background, and of where and what of the first k objects
  log_ratio: Array  # [T + 1] log q(z) / p(z) at the sample: kl_z is its mean
  log_q: Array  # [T + 1] log q(n = k), normalised
  log_p: Array  # [T + 1] log p(n = k), normalised
  # Of use to a few losses alone:
  baseline: Baseline | None = None  # where one is learnt
  products: Array | None = None  # [T + 1, T + 1] inner products of the image less its background
  # and of what each step paints, in units of sigma: the nll of any weighted sum of the paints
