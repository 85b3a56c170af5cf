"""What parsing writes about an image file."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Float, Int, Shaped
from scipy import ndimage

from air_jax import scene3d
from air_jax.config.sections import DataConfig
from air_jax.data import image_files, preparation
from air_jax.data.image_files import ImageFile
from air_jax.inference import parsed_scenes
from air_jax.inference.predictor import Model
from air_jax.types import Pose

NOT_COMPARED = 'not compared with held-out pictures'


class FileResult(NamedTuple):
  """An image file that was parsed, or that could not be read."""

  name: str
  line: dict[str, Any] | None  # ready for JSON, see `line`; None where it could not be read
  brightness: Int[np.ndarray, '256'] | None = None  # histogram of what the model was shown


class Judged(NamedTuple):
  """How well an image is explained."""

  ink_explained: float  # in [0, 1]
  elbo: float  # nats
  elbo_rank: float  # in [0, 1], share of held-out images with a lower bound; NaN where not known
  regions: Float[np.ndarray, 'R 4']  # not explained: boxes in pixels of the image
  doubt: str  # see `parsed_scenes.doubt`, or `NOT_COMPARED`


def judged(
  model: Model,
  ink_explained: float,
  elbo: float,
  elbo_rank: float,
  unlike: bool,
  regions: Float[np.ndarray, 'R 4'],
) -> Judged:
  """Says how well an image is explained."""
  doubt = NOT_COMPARED if model.reference is None else parsed_scenes.doubt(unlike, len(regions))
  return Judged(float(ink_explained), float(elbo), float(elbo_rank), regions, doubt)


def boxes_of(labels: Int[np.ndarray, 'H W']) -> Float[np.ndarray, 'R 4']:
  """Boxes around the regions 1 .. R of a label image: top, left, height, width in pixels."""
  spans = [span for span in ndimage.find_objects(labels) if span is not None]
  boxes = [(y.start, x.start, y.stop - y.start, x.stop - x.start) for y, x in spans]
  return np.array(boxes, np.float32).reshape(-1, 4)


def title(count: int, probability: float | None, doubt: str) -> str:
  """The line of text over an annotated picture."""
  text = f'{count:,} {"object" if count == 1 else "objects"}'
  if probability is not None:
    text += f', p = {probability:.3f}'
  return text if doubt in ('', NOT_COMPARED) else f'{text} ({doubt})'


def read(file: ImageFile, data: DataConfig) -> Shaped[np.ndarray, 'H W C'] | None:
  """The values of a file that can be shown to the model; None, with a warning, if it cannot be."""
  try:
    values = image_files.read(file)
    preparation.channel(values, data.channel)
  except Exception as error:  # damaged files raise nearly anything
    reason = str(error) or type(error).__name__
    logging.warning('leaving out %s: it cannot be read (%s)', file.path, reason)
    return None
  return values


def line(
  model: Model,
  name: str,
  size: tuple[int, int],
  boxes: Float[np.ndarray, 'M 4'],
  scores: Float[np.ndarray, '*M'],
  codes: Float[np.ndarray, '*M D'],
  judged: Judged,
  count_probs: Float[np.ndarray, ' T+1'] | None = None,
  solids: Sequence[dict[str, Any]] | None = None,
) -> dict[str, Any]:
  """The objects of an image.

  Args:
    model: that found them.
    name: of the image.
    size: (width, height) in pixels.
    boxes: of M objects, in pixels.
    scores: of at least as many.
    codes: of at least as many.
    judged: how well it is explained.
    count_probs: of each count, where known.
    solids: further entries of at least as many objects, see `solids`.
  """
  found = zip(boxes, scores, codes, solids or [{}] * len(boxes), strict=False)
  known = {} if count_probs is None else {'count_probs': _rounded(count_probs)}
  return {
    'image': name,
    'width': size[0],
    'height': size[1],
    'step': model.step,
    'count': len(boxes),
    **known,
    'ink_explained': _number(judged.ink_explained),
    'elbo': _number(judged.elbo),
    'elbo_rank': _number(judged.elbo_rank),
    'doubt': judged.doubt,
    'unexplained': [_rounded(box, 2) for box in judged.regions],
    'objects': [
      {'box': _rounded(box, 2), 'score': _rounded(score), **solid, 'z_what': _rounded(code)}
      for box, score, code, solid in found
    ],
  }


def solids(pose: Pose) -> list[dict[str, Any]]:
  """The entries of objects that are solids on a table, ready for JSON.

  Args:
    pose: of T objects.

  Returns:
    of each, `kind` and its probability `kind_prob`, `place` and `size` in half table widths, and
    `rotation` in degrees, the least of those that look the same; null if all do.
  """
  entries = []
  for kinds, place, rotation, size, _ in zip(*pose, strict=True):
    k = int(np.argmax(kinds))
    times = scene3d.SYMMETRIES[k]
    entries.append(
      {
        'kind': scene3d.KINDS[k],
        'kind_prob': _rounded(kinds[k]),
        'place': _rounded(place),
        'size': _rounded(size),
        'rotation': _rounded(np.degrees(rotation) % (360 / times), 2) if times else None,
      }
    )
  return entries


def path(folder: pathlib.Path, name: str, suffix: str) -> pathlib.Path:
  """The file about an image in a folder like that of the images, which is made."""
  target = folder / f'{name}{suffix}'
  target.parent.mkdir(parents=True, exist_ok=True)
  return target


def _number(value: float) -> float | None:
  """A number for JSON, which has none that are not finite."""
  return round(value, 5) if np.isfinite(value) else None


def _rounded(values: Any, digits: int = 5) -> Any:
  return np.round(np.float64(values), digits).tolist()
