"""AIR, attend, infer, repeat, in JAX: scenes explained as sets of objects."""

from air_jax._version import __version__

__all__ = ['__version__', 'load']


def load(workdir, member=None):
  """Loads the model of a run, to parse pictures, imagine scenes and edit them.

  See `air_jax.trained.load`, which this is.
  """
  from air_jax.inference import predictor

  return predictor.load(workdir, member)
