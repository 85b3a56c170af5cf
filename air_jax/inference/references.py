"""What held-out images are like, kept in the folder of a run."""

import pathlib

from absl import logging

from air_jax.errors import UserError
from air_jax.evaluation import familiarity
from air_jax.inference.predictor import Model
from air_jax.storage import run_dir

MOST = 4000  # held-out images that are measured
FEW = 500  # the same, of a model that was loaded with changes: nothing is kept of it


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
