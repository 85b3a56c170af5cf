"""What held-out images are like, kept in the folder of a run."""

import pathlib

import numpy as np
from absl import logging
from jaxtyping import UInt8

from air_jax.config.sections import DataConfig
from air_jax.data import loading
from air_jax.errors import UserError
from air_jax.evaluation import familiarity
from air_jax.inference.predictor import Model
from air_jax.storage import run_dir

FEW = (
  500  # images that are measured, of a model that was loaded with changes: nothing is kept of it
)


def images(data: DataConfig) -> UInt8[np.ndarray, 'B S S C']:
  """What to measure: held-out images; of crops also those of the training pictures.

  The held-out part of a few pictures is small, and its crops are nearly the same. Crops of the
  training pictures were hardly ever seen twice.

  Raises:
    UserError: they cannot be had.
  """
  splits = ('test', 'train') if data.object_pixels else ('test',)
  return np.concatenate([loading.load(data, split).images for split in splits])


def read(folder: pathlib.Path, step: int) -> familiarity.Reference | None:
  """What a folder keeps; None where there is nothing of this training step.

  A damaged file is logged, and counts as none.
  """
  try:
    known = run_dir.read_reference(folder, familiarity.ReferenceForm)
    if known is None or known['step'] != step:
      return None
    return familiarity.from_json(known)
  except (UserError, ValueError) as error:
    logging.warning('%s is not used: %s', folder / run_dir.REFERENCE, error)
    return None


def write(folder: pathlib.Path, model: Model) -> None:
  """Keeps the reference of a model, if the folder may be written to."""
  if model.reference is None:
    return
  try:
    run_dir.write_reference(folder, familiarity.to_json(model.reference))
  except OSError as error:
    logging.warning('%s keeps no %s: %s', folder, run_dir.REFERENCE, error.strerror or error)
