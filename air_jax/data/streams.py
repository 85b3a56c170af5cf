"""Batches read ahead from disk, for data sets larger than memory."""

import functools

import grain
import numpy as np
from absl import flags
from tensorflow_datasets.proto import tf_example_pb2

from air_jax.data import batches

_AHEAD = 1  # of what is drawn at once, what each worker has ready


class Chunks:
  """The batches of many steps at once, by random access: each message to this process costs."""

  def __init__(self, records, shape, size, batch_size, share, seed, start, steps):
    """Takes blocks of scenes, [H, W, C] of an image, number of scenes, and what `stream` takes.

    Chunk 0 is of the seed's `steps` batches from step `start` on.
    """
    self._records = records
    self._shape, self._size, self._seed, self._batch_size = shape, size, seed, batch_size
    self._first, self._end, _ = share.indices(batch_size)
    self._start, self._steps = start, steps

  def __len__(self):
    return 2**31 - 1  # steps without end

  def __getitem__(self, number):
    """[steps, B, H, W, C] uint8 images and [steps, B] int32 counts of the share of each batch."""
    own = self._end - self._first
    images = np.empty((self._steps, own, *self._shape), np.uint8)
    counts = np.empty((self._steps, own), np.int32)
    for i in range(self._steps):
      # In place: to join what was read would take as long again.
      self._read(self._start + number * self._steps + i, images[i], counts[i])
    return images, counts

  def _read(self, step, images, counts):
    """Fills in the share of a step's batch."""
    blocks = batches.batch_blocks(self._seed, step, self._batch_size, self._size, batches.BLOCK)
    for i in range(self._first // batches.BLOCK, -(-self._end // batches.BLOCK)):
      begin = batches.BLOCK * i
      low, high = max(begin, self._first), min(begin + batches.BLOCK, self._end)
      # Reading all at once would start a pool of threads, at ten times the cost; TFDS would decode
      # every feature.
      record = tf_example_pb2.Example.FromString(self._records[blocks[i]])
      feature = record.features.feature
      rows = np.frombuffer(feature['image'].bytes_list.value[0], np.uint8)
      place, part = slice(low - self._first, high - self._first), slice(low - begin, high - begin)
      images[place] = rows.reshape(-1, *self._shape)[part]
      counts[place] = np.array(feature['count'].int64_list.value, np.int32)[part]


def stream(builder, batch_size, workers, share=slice(None)):
  """Batches of a prepared data set; the same as `feeds.resident` would give of its blocks.

  Args:
    builder: from `builders.for_config`, prepared.
    batch_size: B.
    workers: number of processes that read ahead; 0 is a thread of this one.
    share: slice of [B] to read, where other processes read the rest.

  Returns:
    `feeds.Feed`.
  """
  if not flags.FLAGS.is_parsed():  # grain asks for one of its own, also outside of absl programs
    flags.FLAGS.mark_as_parsed()
  paths = [str(path) for path in builder.info.splits['train'].filepaths]
  shape = builder.info.features['image'].shape[1:]
  size = builder.builder_config.data.train_scenes
  records = grain.sources.ArrayRecordDataSource(paths)
  chunks = functools.partial(Chunks, records, shape, size, batch_size, share)
  readings = {}  # by seed

  def draw(seed, start, steps):
    reading = readings.setdefault(seed, _Reading(functools.partial(chunks, seed), workers))
    return reading.draw(start, steps)

  def close():
    for reading in readings.values():
      reading.close()

  return batches.Feed(_given, (), draw, close)


class _Reading:
  """Reads on from where it is, so many steps at a time; begins anew where asked for others."""

  def __init__(self, chunks, workers):
    self._chunks, self._workers = chunks, workers
    self._next, self._iterator = None, None

  def draw(self, start, steps):
    if (start, steps) != self._next:
      self.close()
      ahead = grain.MapDataset.source(self._chunks(start, steps)).to_iter_dataset(
        grain.ReadOptions(num_threads=0 if self._workers else 1, prefetch_buffer_size=_AHEAD)
      )
      if self._workers:
        ahead = ahead.mp_prefetch(
          grain.MultiprocessingOptions(self._workers, per_worker_buffer_size=_AHEAD)
        )
      self._iterator = iter(ahead)
    self._next = start + steps, steps
    return next(self._iterator)

  def close(self):
    """Stops the workers."""
    if self._iterator is not None:
      self._iterator.close()
      self._iterator = self._next = None


def _given(data, drawn):
  del data
  return drawn
