"""Scenes from the published files of Multi-dSprites and Tetrominoes, without TensorFlow.

Kabra et al., "Multi-object datasets", 2019: a gzipped TFRecord file for each set, each record a
`tf.train.Example` with an image, a mask for each entity, of which the first is the background, and
what else is known about each. Pixels are strings of one byte.
"""

import gzip
import itertools
import pathlib
import struct
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import tqdm
from jaxtyping import Bool, UInt8

from air_jax.data import objects
from air_jax.errors import UserError
from air_jax.runtime import extras
from air_jax.types import LabelledScenes

_LENGTH = struct.Struct('<Q')  # of a record; a checksum follows it, and another the record
_CHECKSUM = 4  # bytes; gzip has its own, so that these are not read
_MOST = 2**31 - 1  # bytes of a record, by protobuf
_ONE_BYTE = (0x0A, 1)  # how protobuf begins a string of one byte in a list


def read(path: str | pathlib.Path, start: int, stop: int) -> LabelledScenes:
  """Reads scenes start .. stop - 1 of a file.

  Boxes are around what is visible. Counts are of the objects that the file calls visible; where it
  does not say, of those that have pixels.

  Args:
    path: of a file such as multi_dsprites_colored_on_grayscale.tfrecords.
    start: the first scene, from 0.
    stop: the one after the last.

  Raises:
    UserError: the file cannot be read, is cut short, has fewer scenes, or is no such set.
  """
  if not 0 <= start < stop:
    raise UserError(f'scenes {start} to {stop} are not allowed; it must be 0 <= start < stop')
  with extras.needed('data', 'reading TFRecords'):
    from google.protobuf.message import DecodeError
    from tensorflow_datasets.proto import tf_example_generated_pb2 as protos

  number, hidden = stop - start, not sys.stderr.isatty()
  records = itertools.islice(_records(path), start, stop)
  images: list[np.ndarray] = []
  segments, known, entities = [], [], 0
  for record in tqdm.tqdm(records, total=number, unit='scene', disable=hidden):
    try:
      features = protos.Example.FromString(record).features.feature
      image = _image(_bytes(features['image']))
      masks = _masks(_bytes(features['mask']), len(image))
      factors = _factors(features, len(masks))
      if images and (image.shape != images[0].shape or len(masks) != entities):
        raise ValueError('scenes must be of one size, with as many masks each')
    except (ValueError, DecodeError) as error:
      raise UserError(f'{path} holds no scenes with an image and masks: {error}') from error
    images.append(image)
    segments.append(masks.argmax(0))
    known.append({'visibility': masks[1:].any((1, 2)), **factors})
    entities = len(masks)
  if len(images) < number:
    raise UserError(f'{path} ends before scene {stop}; it has {start + len(images)} at most')
  return _scenes(np.stack(images), np.stack(segments), known)


def _records(path: str | pathlib.Path) -> Iterator[bytes]:
  try:
    with gzip.open(path) as file:
      while head := file.read(_LENGTH.size + _CHECKSUM):
        (length,) = _LENGTH.unpack(head[: _LENGTH.size])
        if length > _MOST:
          raise EOFError('a record is larger than such records can be')
        record = file.read(length + _CHECKSUM)
        if len(record) < length + _CHECKSUM:
          raise EOFError('its last record is cut short')
        yield record[:length]
  except (OSError, EOFError, struct.error, zlib.error) as error:
    raise UserError(f'{path} cannot be read as gzipped TFRecords ({error})') from error


def _bytes(feature: Any) -> UInt8[np.ndarray, ' M']:
  """The values of a feature that is a list of strings of one byte."""
  # A list of strings of one byte is (tag, length, byte) over and over: faster than one by one.
  message = np.frombuffer(feature.bytes_list.SerializeToString(), np.uint8)
  if not message.size or message.size % 3 or (message.reshape(-1, 3)[:, :2] != _ONE_BYTE).any():
    raise ValueError('pixels must be strings of one byte')
  return message[2::3]


def _image(values: UInt8[np.ndarray, ' M']) -> UInt8[np.ndarray, 'S S C']:
  for channels in (1, 3):
    side = round((values.size / channels) ** 0.5)
    if side * side * channels == values.size:
      return values.reshape(side, side, channels)
  raise ValueError(f'{values.size} values are no square image, grey or of three channels')


def _masks(values: UInt8[np.ndarray, ' M'], side: int) -> Bool[np.ndarray, 'E S S']:
  """The pixels of each entity; files have [E, S, S] (Tetrominoes) or [S, S, E] (Multi-dSprites)."""
  if values.size % side**2 == 0:
    for masks in (
      values.reshape(-1, side, side),
      values.reshape(side, side, -1).transpose(2, 0, 1),
    ):
      if len(masks) > 1 and ((masks > 0).sum(0) == 1).all():
        return masks > 0
  raise ValueError('masks must give each pixel to one entity of two or more')


def _factors(features: Any, entities: int) -> dict[str, np.ndarray]:
  """What is known about each entity but the first: visibility, shape, scale, orientation."""
  names = [name for name in ('visibility', 'shape', 'scale', 'orientation') if name in features]
  known = {name: np.array(features[name].float_list.value[1:]) for name in names}
  for name, values in known.items():
    if values.size != entities - 1 or not (abs(values) < 2**31).all():
      raise ValueError(f'{name} must be a finite number for each of {entities} entities')
  return known


def _scenes(images: np.ndarray, entities: np.ndarray, known: list) -> LabelledScenes:
  """Objects are those that are visible, in their order."""
  visible = np.stack([factors['visibility'] for factors in known]) > 0
  order = np.argsort(~visible, axis=1, kind='stable')
  present = np.take_along_axis(visible, order, 1)

  def of_objects(name: str, absent: float, unknown: float) -> np.ndarray:
    """[B, N]."""
    given = [factors.get(name, np.full(visible.shape[1], unknown)) for factors in known]
    return np.where(present, np.take_along_axis(np.stack(given), order, 1), absent)

  rank = np.argsort(order, axis=1) + 1  # of each entity
  numbers = np.concatenate([np.zeros((len(images), 1), int), rank], 1).astype(np.uint16)
  segments = np.take_along_axis(numbers, entities.reshape(len(images), -1).astype(int), 1)
  segments = segments.reshape(entities.shape)
  return LabelledScenes(
    images=images,
    counts=visible.sum(1).astype(np.int32),
    boxes=_boxes(segments, visible.shape[1]),
    labels=of_objects('shape', -1, 0).astype(np.int32),
    scales=of_objects('scale', 0, 1).astype(np.float32),
    rotations=of_objects('orientation', 0, 0).astype(np.float32),
    segments=segments,
    places=np.zeros((*visible.shape, 2), np.float32),
  )


def _boxes(segments: np.ndarray, number: int) -> np.ndarray:
  """[B, N, 4] around the pixels of each object."""
  bounds = [jax.vmap(objects.ink_bounds)(segments == k + 1) for k in range(number)]
  return np.stack([np.concatenate(each, -1) for each in bounds], 1).astype(np.float32)
