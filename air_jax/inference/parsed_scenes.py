"""The result of parsing images, or of generating and editing scenes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8, UInt16

from air_jax.evaluation import familiarity, metrics, residuals
from air_jax.inference.batching import in_batches
from air_jax.model import air
from air_jax.model import spatial_transformer as transformer
from air_jax.objectives import distributions
from air_jax.types import Latents, Pose

# Of the greatest brightness of an object, so that dim ones are found too:
_BOX_SHARE = 0.25  # beyond which its ink lies in its box
_EDGE_SHARE = 0.5  # of what it changes: at half lies the edge of what is blurred
UNLIKE, UNEXPLAINED = 'unlike the training pictures', 'unexplained'  # words of a doubt
# Fields that only held-out images give:
COMPARED = 'elbo_ranks', 'unlike', 'regions'
_BATCH = 256  # images at once
_MIDDLE = 0.4  # deviation of the middle of an object, in half windows


class ParsedScenes(NamedTuple):
  """B scenes that a model parsed, generated or edited, as NumPy arrays.

  Boxes, windows, scores and glimpses are 0 from row `counts` on. A scene that was generated or
  edited has exact latents: their deviations are 0, its `count_probs` one-hot, its `elbo` and
  `ink_explained` NaN. Of a parsed one every object has ink, see `without_ink`.
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
  backgrounds: Float[np.ndarray, 'B H W C']  # the same without objects
  z_where_mean: Float[np.ndarray, 'B T 3']  # posterior of raw (scale, x, y), absent objects too
  z_where_std: Float[np.ndarray, 'B T 3']
  z_what_mean: Float[np.ndarray, 'B T D']  # posterior of the codes, absent objects too
  z_what_std: Float[np.ndarray, 'B T D']
  elbo: Float[np.ndarray, ' B']  # nats, estimate of the bound on log p(image); see `Model.parse`
  ink_explained: Float[np.ndarray, ' B']  # in [0, 1], see `residuals.ink_explained`
  # Compared with held-out images; NaN, False and 0 where the model has no reference:
  elbo_ranks: Float[np.ndarray, ' B']  # in [0, 1], see `familiarity.Reference.ranks`
  unlike: Bool[np.ndarray, ' B']  # whether the image lies outside their distribution
  regions: UInt16[np.ndarray, 'B H W']  # of the model's canvas: i + 1 is the i-th region that is
  # not explained, as large as an object; 0 elsewhere
  latents: Latents  # with a leading [B]; rows of absent objects are kept
  poses: Pose | None = None  # [B, T], absent objects too; None where objects are no solids


def describe(
  model: air.Model,
  latents: Latents,
  log_probs: Float[Array, ' T+1'],
  glimpses: Float[Array, 'T h w A'],
  painted: Float[Array, 'T H W A'],
  canvases: Float[Array, 'T+1 H W C'],
) -> ParsedScenes:
  """One scene with exact latents; the caller of a parse sets what depends on an image.

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
  additions = model.compositing.additions(canvases[0], painted)
  ink, changes = model.compositing.ink(painted), _changes(additions, windows)
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
    'backgrounds': canvases[0],
    'z_where_mean': latents.z_where,
    'z_where_std': jnp.zeros_like(latents.z_where),
    'z_what_mean': latents.z_what,
    'z_what_std': jnp.zeros_like(latents.z_what),
    'elbo': jnp.full((), jnp.nan),
    'ink_explained': jnp.full((), jnp.nan),
    'elbo_ranks': jnp.full((), jnp.nan),
    'unlike': jnp.array(False),
    'regions': jnp.zeros(canvases.shape[1:3], jnp.uint16),
    'latents': latents,
  }
  if pose := model.networks.pose:
    fields['poses'] = jax.vmap(pose)(latents.z_where, latents.z_what)
  return ParsedScenes(**fields)


def compare(
  scenes: ParsedScenes, images: UInt8[np.ndarray, 'B H W C'], reference: familiarity.Reference
) -> ParsedScenes:
  """Sets the fields that compare scenes of images with held-out ones."""
  regions = [
    residuals.regions(residuals.off(image, canvas, reference.level), reference.area)
    for image, canvas in zip(images, scenes.canvases, strict=True)
  ]
  return scenes._replace(
    elbo_ranks=reference.ranks(scenes.counts, scenes.elbo),
    unlike=reference.unlike(scenes.counts, _traits(scenes, images), scenes.elbo),
    regions=np.array(regions, np.uint16).reshape(scenes.regions.shape),
  )


def measure(
  step: int, images: UInt8[np.ndarray, 'B H W C'], scenes: ParsedScenes
) -> familiarity.Reference:
  """What held-out images are like, of their scenes."""
  contrasts = np.abs(scenes.canvases - scenes.backgrounds).max(-1)
  sizes = np.concatenate([*map(residuals.object_sizes, scenes.segments, contrasts)])
  return familiarity.measure(
    step,
    scenes.counts,
    _traits(scenes, images),
    scenes.elbo,
    images,
    scenes.canvases,
    *sizes.T,
  )


def _traits(scenes: ParsedScenes, images: UInt8[np.ndarray, 'B H W C']) -> Float[np.ndarray, 'B F']:
  energies = in_batches(_energies, (images, scenes.canvases), _BATCH)
  return familiarity.traits(scenes.counts, energies, scenes.z_what_std)


@jax.jit
def _energies(pair: tuple[Array, Array]) -> Float[Array, 'B 2 F']:
  """Of images and of what their canvases leave of them; apart from parsing, for it takes long."""
  images, canvases = pair
  images = images / 255.0
  return jnp.stack([*map(jax.vmap(residuals.band_energies), (images, images - canvases))], 1)


def doubt(unlike: bool, regions: int) -> str:
  """Why not to rely on what was found in an image, in words; '' where nothing speaks against it."""
  reasons = [UNLIKE] if unlike else []
  if regions:
    reasons.append(f'{regions:,} {"region" if regions == 1 else "regions"} {UNEXPLAINED}')
  return '; '.join(reasons)


def _changes(
  additions: Float[Array, 'T H W C'], windows: Float[Array, 'T 3']
) -> Float[Array, 'T H W']:
  """How much each object changes its pixels, in the direction of its change near its middle.

  A bright object may also paint the shadow around it, which is no part of it.
  """
  side = additions.shape[1]
  at = (2.0 * np.arange(side) + 1.0) / side - 1.0

  def direction(addition, window):
    scale, *middle = window
    columns, rows = (jnp.exp(-0.5 * ((at - x) / (_MIDDLE * scale)) ** 2) for x in middle)
    total = jnp.einsum('h,hwc,w->c', rows, addition, columns, precision='highest')
    return total / jnp.maximum(jnp.linalg.norm(total), 1e-6)

  directions = jax.vmap(direction)(additions, windows)
  return jnp.maximum(jnp.einsum('thwc,tc->thw', additions, directions, precision='highest'), 0.0)
