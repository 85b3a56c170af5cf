"""How well solids on a table are described: kind, place and rotation of matched objects."""

import numpy as np
from jaxtyping import ArrayLike, Float, Int

from air_jax import scene3d
from air_jax.evaluation import metrics
from air_jax.types import LabelledScenes, Pose


def summary(found: Pose, counts: Int[np.ndarray, ' B'], scenes: LabelledScenes) -> dict[str, float]:
  """Compares the solids found with the true ones.

  Objects of an image are matched one to one, so that the sum of distances on the table is least.
  Every pair counts, however far apart.

  Args:
    found: [B, T].
    counts: how many of them are present in each image.
    scenes: with the truth.

  Returns:
    dict ready for JSON: `kind_accuracy`, the share of pairs of the same kind; `place_error`, how
    far x and y are off, the mean over pairs and both, in table widths; `rotation_error`, how far
    the rotation is off, the median over pairs of which the true one has a rotation that shows,
    whatever kind was found, in degrees, up to rotations that look the same. Entries that no pair
    decides are left out, and all where places are not known.
  """
  if not np.any(scenes.places):
    return {}
  rows, true, matched = match(found, counts, scenes)
  if not len(rows):
    return {}
  kinds = np.asarray(scenes.labels)[rows, true]
  wrong = np.abs(np.asarray(scenes.places)[rows, true] - found.place[rows, matched])
  result = {
    'kind_accuracy': float((kinds == np.argmax(found.kinds[rows, matched], -1)).mean()),
    'place_error': float(wrong.mean()) / 2,  # a table is 2 wide
  }
  errors = rotation_errors(found.rotation[rows, matched], scenes.rotations[rows, true], kinds)
  if np.isfinite(errors).any():
    result['rotation_error'] = float(np.nanmedian(errors))
  return result


def match(
  found: Pose, counts: Int[np.ndarray, ' B'], scenes: LabelledScenes
) -> tuple[Int[np.ndarray, ' M'], Int[np.ndarray, ' M'], Int[np.ndarray, ' M']]:
  """Pairs of objects: the image of each, its true object and its found one."""
  pairs = []
  for i, (true, number) in enumerate(zip(scenes.counts, counts, strict=True)):
    offsets = scenes.places[i][:true, None] - found.place[i][None, :number]
    rows, columns = metrics.match(-np.linalg.norm(offsets, axis=-1))
    pairs.append(np.stack([np.full(len(rows), i), rows, columns]))
  images, rows, columns = np.concatenate(pairs, 1)
  return images, rows, columns


def rotation_errors(
  found: Float[ArrayLike, ' M'], true: Float[ArrayLike, ' M'], kinds: Int[np.ndarray, ' M']
) -> Float[np.ndarray, ' M']:
  """How far rotations are off, up to those that look the same.

  Args:
    found: radians.
    true: radians.
    kinds: true ones, indices into `scene3d.KINDS`.

  Returns:
    degrees in [0, 180 / n] for a kind that looks the same n times in a turn; NaN where it does so
    at all angles.
  """
  times = np.asarray(scene3d.SYMMETRIES, float)[kinds]
  period = np.divide(360.0, times, out=np.full(len(times), np.nan), where=times > 0)
  error = np.degrees(np.asarray(found, float) - np.asarray(true)) % period
  return np.minimum(error, period - error)
