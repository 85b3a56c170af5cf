"""What a model is shown of a picture: a channel, its levels, the canvas. The only way there."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from air_jax.config.constraints import COLOURS
from air_jax.config.sections import DataConfig
from air_jax.data import levels, pictures
from air_jax.errors import UserError


class Prepared(NamedTuple):
  """A picture ready for a model."""

  picture: Image.Image  # at its own size, in mode 'L' or 'RGB'
  canvas: UInt8[np.ndarray, 'S S C']  # what the model is shown


def prepare(values: Shaped[np.ndarray, 'H W C'], data: DataConfig) -> Prepared:
  """Applies `data.channel`, `levels`, `invert`, `gamma` and `fit` in this order.

  Args:
    values: as `image_files.read` and `pictures.values` give them.
    data: section `data`; `data.stretch` is no more than a wish here, see `image_folder.resolve`.

  Raises:
    UserError: the picture has no such channel.
  """
  picture = in_levels(values, data)
  return Prepared(picture, pictures.on_canvas(picture, data.canvas_size, data.colour, data.fit))


def in_levels(values: Shaped[np.ndarray, 'H W C'], data: DataConfig) -> Image.Image:
  """The picture of `prepare`, at its own size, in mode 'L' or 'RGB'.

  Raises:
    UserError: the picture has no such channel.
  """
  bytes_ = levels.to_bytes(channel(values, data.channel), data.levels, data.invert, data.gamma)
  return Image.fromarray(bytes_[..., 0] if bytes_.shape[-1] == 1 else bytes_)


def as_it_is(data: DataConfig) -> DataConfig:
  """The section `data` by which a picture in 0..255 is only fitted to the canvas."""
  return dataclasses.replace(data, channel='', levels=(), invert=False, gamma=1.0)


def channel(values: Shaped[np.ndarray, 'H W C'], name: str) -> Shaped[np.ndarray, 'H W c']:
  """The channels of a picture that `data.channel` names: c is 1 or 3.

  Raises:
    UserError: there is no such channel, or none is named and there are not 1 or 3.
  """
  number = values.shape[-1]
  if not name and number in (1, 3):
    return values
  if name in COLOURS and number in (1, 3):  # the red of a grey picture is its grey
    index = COLOURS.index(name) if number == 3 else 0
  elif name.isdecimal() and int(name) < number:
    index = int(name)
  else:
    channels = 'channel' if number == 1 else 'channels'
    raise UserError(
      f'it has {number} {channels}, and data.channel={name!r}; it must be a number in '
      f'0 .. {number - 1}{", red, green, blue or empty" if number in (1, 3) else ""}'
    )
  return values[..., index : index + 1]
