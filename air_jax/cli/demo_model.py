"""The model of the demo where there is no run: trained on first use, then kept."""

import hashlib

from ml_collections import ConfigDict

from air_jax import api
from air_jax.config import saved_configs
from air_jax.errors import UserError
from air_jax.inference.predictor import Model
from air_jax.inference.restore import load_with_reference
from air_jax.runtime import cache_dir


def load_or_train(config: ConfigDict) -> Model:
  """Loads a model from the user's cache folder; the first call for a configuration trains it."""
  digest = hashlib.sha256(saved_configs.to_json(config).encode()).hexdigest()[:12]
  folder = cache_dir.cache_dir() / 'models' / digest
  try:
    model = load_with_reference(folder)
  except UserError:
    model = None
  if model is None or model.step < config.train.steps:
    print('no run found: training a small model once, for some minutes; it is kept')
    api.train(config, folder, figures=False)
    model = load_with_reference(folder)
  return model
