"""What parsing writes about an image file."""

import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Float, Int, Shaped

from air_jax.config.sections import DataConfig
from air_jax.data import image_files, preparation
from air_jax.data.image_files import ImageFile
from air_jax.inference.predictor import Model


class FileResult(NamedTuple):
  """An image file that was parsed, or that could not be read."""

  name: str
  line: dict[str, Any] | None  # ready for JSON, see `line`; None where it could not be read
  brightness: Int[np.ndarray, '256'] | None = None  # histogram of what the model was shown


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
  count_probs: Float[np.ndarray, ' T+1'] | None = None,
) -> dict[str, Any]:
  """The objects of an image.

  Args:
    model: that found them.
    name: of the image.
    size: (width, height) in pixels.
    boxes: of M objects, in pixels.
    scores: of at least as many.
    codes: of at least as many.
    count_probs: of each count, where known.
  """
  found: Iterable[tuple] = zip(boxes, scores, codes, strict=False)
  known = {} if count_probs is None else {'count_probs': _rounded(count_probs)}
  return {
    'image': name,
    'width': size[0],
    'height': size[1],
    'step': model.step,
    'count': len(boxes),
    **known,
    'objects': [
      {'box': _rounded(box, 2), 'score': _rounded(score), 'z_what': _rounded(code)}
      for box, score, code in found
    ],
  }


def path(folder: pathlib.Path, name: str, suffix: str) -> pathlib.Path:
  """The file about an image in a folder like that of the images, which is made."""
  target = folder / f'{name}{suffix}'
  target.parent.mkdir(parents=True, exist_ok=True)
  return target


def _rounded(values: Any, digits: int = 5) -> Any:
  return np.round(np.float64(values), digits).tolist()
