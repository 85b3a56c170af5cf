"""The arrays that pass between the parts of AIR, each field with its shape.

Everything is for one image; `jax.vmap` adds particles, batch and seeds outside.
Letters: T maximum steps, H W canvas, h w glimpse, C channels (1 grey, 3 RGB), A those of a glimpse
(C, and those of `Compositing.mask_channels`), D code of an object, E code of the
background, N most objects in a data set.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, UInt8, UInt16


class Normal(NamedTuple):
  """A diagonal Gaussian."""

  mean: Float[Array, '...']
  std: Float[Array, '...']  # > 0


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
  # Radians, 0 where no object: clockwise; on a table anticlockwise, as seen from above
  rotations: Float[Array | np.ndarray, 'B N']
  # What each pixel shows: 0 is the background, k + 1 is object k; H = W = 0 where unknown
  segments: UInt16[Array | np.ndarray, 'B H W']
  # (x, y) on the table in half table widths, see scene3d; 0 where no object or no table
  places: Float[Array | np.ndarray, 'B N 2']


class Noise(NamedTuple):
  """Standard normal noise behind the continuous latents of one image."""

  objects: Float[Array, 'T 3+D']
  background: Float[Array, ' E']


class Latents(NamedTuple):
  """A scene as AIR describes it: its objects, how many of them are present, its background."""

  z_where: Float[Array, 'T 3']  # raw (scale, x, y), see spatial_transformer.place
  z_what: Float[Array, 'T D']
  # int32, the first `count` rows are present
  count: Int[Array, '']  # type: ignore[assignment]  # it hides tuple.count, which nobody needs here
  z_background: Float[Array, ' E']


class Pose(NamedTuple):
  """A solid on a table, as latents describe it; see scene3d for the units."""

  kinds: Float[Array, '*B K']  # weights of `scene3d.KINDS`, which add up to 1
  place: Float[Array, '*B 2']  # (x, y) on the table, in half table widths
  rotation: Float[Array, '*B']  # radians anticlockwise as seen from above
  size: Float[Array, '*B']  # half the height, in half table widths
  colour: Float[Array, '*B C']  # in [0, 1]


class Rollout(NamedTuple):
  """All T inference steps, taken as if every object were present."""

  presence_logits: Float[Array, ' T']  # log-odds that step t finds one more object
  where: Normal  # [T, 3] q(z_where,t | x, z_<t)
  what: Normal  # [T, D] q(z_what,t | x, z_where,t)
  background: Normal  # [E] q(z_background | x)
  z_where: Float[Array, 'T 3']  # sample
  z_what: Float[Array, 'T D']  # sample
  z_background: Float[Array, ' E']  # sample
  crops: Float[Array, 'T h w C']  # the image in the window of each step
  glimpses: Float[Array, 'T h w A']  # decoded from z_what
  painted: Float[Array, 'T H W A']  # each glimpse at its window on an empty canvas
  additions: Float[Array, 'T H W C']  # what each object adds to the canvas of those before it
  canvases: Float[Array, 'T+1 H W C']  # after 0..T objects


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
  # Inner products of the image less its background and of what each object adds to the canvas, in
  # units of sigma. They give the nll of any weighted sum of these.
  products: Float[Array, '*K T+1 T+1'] | None = None
