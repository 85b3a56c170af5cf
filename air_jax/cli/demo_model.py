"""The model of the demo where there is no run: trained on first use, then kept."""

import hashlib

from ml_collections import ConfigDict

from air_jax.config import schema
from air_jax.errors import UserError
from air_jax.inference import predictor
from air_jax.runtime import cache_dir
from air_jax.training import loop


def load_or_train(config: ConfigDict) -> predictor.Model:
  """Loads a model from the user's cache folder; the first call for a configuration trains it."""
  digest = hashlib.sha256(schema.to_json(config).encode()).hexdigest()[:12]
  folder = cache_dir.cache_dir() / 'models' / digest
  try:
    model = predictor.load(folder)
  except UserError:
    model = None
  if model is None or model.step < config.train.steps:
    print('no run found: training a small model once, for about a minute; it is kept')
    loop.train(config, folder)
    model = predictor.load(folder)
  return model
