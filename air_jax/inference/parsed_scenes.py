"""The result of parsing images, or of generating and editing scenes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt16

from air_jax.evaluation import metrics
from air_jax.model import air
from air_jax.model import spatial_transformer as transformer
from air_jax.objectives import distributions
from air_jax.types import Latents

# Of the greatest brightness of an object, so that dim ones are found too:
_BOX_SHARE = 0.25  # beyond which its ink lies in its box
_EDGE_SHARE = 0.5  # of what it changes: at half lies the edge of what is blurred
_MIDDLE, _MIDDLE_SIZE = 0.4, 20  # of an object: deviation in half windows, pixels


class ParsedScenes(NamedTuple):
  """B scenes that a model parsed, generated or edited, as NumPy arrays.

  Boxes, windows, scores and glimpses are 0 from row `counts` on. A scene that was generated or
  edited has exact latents: their deviations are 0, its `count_probs` one-hot, its `elbo` NaN.
  """

  counts: Int[np.ndarray, ' B']
  count_probs: Float[np.ndarray, 'B T+1']  # by the posterior that `model.count_by` names
  boxes: Float[np.ndarray, 'B T 4']  # of the ink: top, left, height, width in pixels of the image
  windows: Float[np.ndarray, 'B T 4']  # top, left, height, width in pixels of the model's canvas,
  # which is the image itself where that has the canvas's size; they may reach beyond it
  segments: UInt16[np.ndarray, 'B H W']  # of the model's canvas: 0 is the background, t + 1 is
  # object t, of those that change a pixel the one that changes it most
  scores: Float[np.ndarray, 'B T']  # P(n > t), that the image holds the t-th object at least
  glimpses: Float[np.ndarray, 'B T h w C']  # each object on black, in [0, 1]
  canvases: Float[np.ndarray, 'B H W C']  # the reconstruction: all objects over the background
  z_where_mean: Float[np.ndarray, 'B T 3']  # posterior of raw (scale, x, y), absent objects too
  z_where_std: Float[np.ndarray, 'B T 3']
  z_what_mean: Float[np.ndarray, 'B T D']  # posterior of the codes, absent objects too
  z_what_std: Float[np.ndarray, 'B T D']
  elbo: Float[np.ndarray, ' B']  # nats, estimate of the bound on log p(image); see `Model.parse`
  latents: Latents  # with a leading [B]; rows of absent objects are kept


def describe(
  model: air.Model,
  latents: Latents,
  log_probs: Float[Array, ' T+1'],
  glimpses: Float[Array, 'T h w A'],
  painted: Float[Array, 'T H W A'],
  canvases: Float[Array, 'T+1 H W C'],
) -> ParsedScenes:
  """One scene with exact latents; the caller of a parse sets deviations and bound.

  Args:
    model: the model.
    latents: of one image.
    log_probs: of each count.
    glimpses: of all objects, present or not.
    painted: each glimpse at its window on an empty canvas.
    canvases: after 0..T objects.
  """
  present = jnp.arange(len(glimpses)) < latents.count
  windows = jax.vmap(transformer.place)(latents.z_where)
  ink, changes = model.compositing.ink(painted), _changes(canvases, windows)
  box_threshold = metrics.share_of_peak(ink, _BOX_SHARE)
  edge = metrics.share_of_peak(changes, _EDGE_SHARE)
  boxes = jax.vmap(lambda window: transformer.box(window, model.spec.canvas_size))(windows)
  fields: dict[str, Any] = {
    'counts': latents.count,
    'count_probs': jnp.exp(log_probs),
    'boxes': jnp.where(present[:, None], metrics.ink_boxes(ink, box_threshold), 0.0),
    'windows': jnp.where(present[:, None], boxes, 0.0),
    'segments': metrics.ink_segments(changes, latents.count, edge),
    'scores': jnp.where(present, distributions.presence_probs(log_probs), 0.0),
    'glimpses': jnp.where(present[:, None, None, None], glimpses[..., : canvases.shape[-1]], 0.0),
    'canvases': canvases[latents.count],
    'z_where_mean': latents.z_where,
    'z_where_std': jnp.zeros_like(latents.z_where),
    'z_what_mean': latents.z_what,
    'z_what_std': jnp.zeros_like(latents.z_what),
    'elbo': jnp.full((), jnp.nan),
    'latents': latents,
  }
  return ParsedScenes(**fields)


def _changes(
  canvases: Float[Array, 'T+1 H W C'], windows: Float[Array, 'T 3']
) -> Float[Array, 'T H W']:
  """How much each object changes its pixels, in the direction of its change near its middle.

  A bright object may also paint the shadow around it, which is no part of it.
  """
  additions = jnp.diff(canvases, axis=0)
  x = np.linspace(-1, 1, _MIDDLE_SIZE)
  middle = np.exp(-0.5 * (x[:, None] ** 2 + x**2) / _MIDDLE**2)[..., None]
  near = jax.vmap(lambda w: transformer.paint(jnp.asarray(middle), w, canvases.shape[1]))(windows)
  total = (near * additions).sum((1, 2), keepdims=True)
  length = jnp.linalg.norm(total, axis=-1, keepdims=True)
  return jnp.maximum((additions * total / jnp.maximum(length, 1e-6)).sum(-1), 0.0)
