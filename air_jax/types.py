"""The arrays that pass between the parts of AIR, each field with its shape.

Everything is for one image; `jax.vmap` adds particles, batch and seeds outside.
Letters: T maximum steps, H W canvas, h w glimpse, C channels (1 grey, 3 RGB), D code of an object,
E code of the background, N most objects in a data set.
"""

from typing import NamedTuple

from jaxtyping import Array, Float


class Normal(NamedTuple):
  """A diagonal Gaussian."""

  mean: Array  # [...]
  std: Array  # [...] > 0


class Scenes(NamedTuple):
  """Images with the truth behind them, which serves evaluation alone."""

  images: Array  # [B, H, W, C] uint8
  counts: Array  # [B] int32, objects in the image; -1 where it is not known
  boxes: Array  # [B, N, 4] float32 (top, left, height, width) in pixels, 0 where no object
  labels: Array  # [B, N] int32, -1 where no object
  scales: Array  # [B, N] float32, 1 is the glyph's native size, 0 where no object
  rotations: Array  # [B, N] float32, radians clockwise, 0 where no object


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


class ElboTerms(NamedTuple):
  """The terms of the bound for every count k = 0..T, in nats.

  Here they are those of one roll-out; with K roll-outs of an image, each has a leading [K].
  """

  nll: Float[Array, '*K T+1']  # -log p(x | first k objects)
  kl_z: Float[Array, '*K T+1']  # KL of the background, and of where and what of the first k objects
  log_ratio: Float[Array, '*K T+1'] | None  # log q(z) / p(z) at the sample: its mean is kl_z
  log_q: Float[Array, '*K T+1']  # log q(n = k), normalised
  log_p: Float[Array, '*K T+1']  # log p(n = k), normalised
  # Only a few losses read these:
  baseline: Float[Array, '*K T'] | None = None  # predictions of the cost to go at each presence
  # Inner products of the image less its background and of each layer, in units of sigma. They give
  # the nll of any weighted sum of layers.
  products: Float[Array, '*K T+1 T+1'] | None = None
