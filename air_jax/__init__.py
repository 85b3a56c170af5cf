"""Attend, Infer, Repeat (AIR) in JAX: images explained as sets of objects, learned without labels.

    model = air_jax.fit(images, max_objects=3)       # train on an array
    scenes = model.parse(images)                     # count, boxes, codes of each image
    model = air_jax.load('runs/multi_digits')        # a run that main.py trained

Everything is imported when it is first used: `import air_jax` alone imports no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

from air_jax._version import __version__
from air_jax.errors import UserError

if TYPE_CHECKING:
  from air_jax.api import fit, load, train
  from air_jax.callbacks import Callback
  from air_jax.inference.large_pictures import ParsedPicture, parse_large
  from air_jax.inference.predictor import Model, ParsedScenes
  from air_jax.types import LabelledScenes

__all__ = [
  'Callback',
  'LabelledScenes',
  'Model',
  'ParsedPicture',
  'ParsedScenes',
  'UserError',
  '__version__',
  'fit',
  'load',
  'parse_large',
  'train',
]

_WHERE = {
  'Callback': 'callbacks',
  'LabelledScenes': 'types',
  'Model': 'inference.predictor',
  'ParsedPicture': 'inference.large_pictures',
  'ParsedScenes': 'inference.predictor',
  'fit': 'api',
  'load': 'inference.restore',
  'parse_large': 'inference.large_pictures',
  'train': 'api',
}


def __getattr__(name: str) -> Any:
  if name not in _WHERE:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(f'{__name__}.{_WHERE[name]}'), name)


def __dir__() -> list[str]:
  return sorted([*globals(), *_WHERE])
