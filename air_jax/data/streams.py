"""Batches read ahead from disk, for data sets larger than memory."""

import grain
import numpy as np
from absl import flags
from tensorflow_datasets.proto import tf_example_pb2

from air_jax.data import feeds

_AHEAD = 1  # of what is drawn at once, what each worker has ready


class Batches:
  """The batch of each step, by random access."""

  def __init__(self, paths, shape, size, seed, batch_size, shard):
    """Args: array_record files, [H, W, C] of an image, number of scenes, and as in `stream`."""
    self._records = grain.sources.ArrayRecordDataSource(paths)
    self._shape, self._size, self._seed, self._batch_size = shape, size, seed, batch_size
    index, count = shard
    share = np.array_split(np.arange(batch_size), count)[index]
    self._start, self._stop = share[0], share[-1] + 1

  def __getitem__(self, step):
    """[B, H, W, C] uint8 images and [B] int32 counts of this host's share of a step's batch."""
    blocks = feeds.batch_blocks(self._seed, step, self._batch_size, self._size, feeds.BLOCK)
    first = self._start // feeds.BLOCK
    blocks = blocks[first : -(-self._stop // feeds.BLOCK)]
    images, counts = [], []
    for block in blocks:
      # Reading all at once would start a pool of threads, at ten times the cost; TFDS would decode
      # every feature.
      record = tf_example_pb2.Example.FromString(self._records[block])
      feature = record.features.feature
      images.append(np.frombuffer(feature['image'].bytes_list.value[0], np.uint8))
      counts.append(np.array(feature['count'].int64_list.value, np.int32))
    share = slice(self._start - feeds.BLOCK * first, self._stop - feeds.BLOCK * first)
    images = np.concatenate(images).reshape(-1, *self._shape)
    return images[share], np.concatenate(counts)[share]


class Chunks:
  """Batches of many steps at once, for grain: a message to this process costs as much as ten."""

  def __init__(self, batches, start, steps):
    self._batches, self._start, self._steps = batches, start, steps

  def __len__(self):
    return 2**31 - 1  # steps without end

  def __getitem__(self, number):
    """[steps, B, H, W, C] images and [steps, B] counts of a chunk, the first of which is 0."""
    first = self._start + number * self._steps
    batches = (self._batches[step] for step in range(first, first + self._steps))
    return tuple(np.stack(field) for field in zip(*batches, strict=True))


def stream(builder, seed, batch_size, workers, shard=(0, 1)):
  """Batches of a prepared data set; the same as `feeds.resident` would give of its blocks.

  Args:
    builder: from `builders.for_config`, prepared.
    seed: of the run.
    batch_size: B.
    workers: number of processes that read ahead; 0 is a thread of this one.
    shard: (index, count) of hosts; each reads its share of every batch.

  Returns:
    `feeds.Feed`.
  """
  if not flags.FLAGS.is_parsed():  # grain asks for one of its own, also outside of absl programs
    flags.FLAGS.mark_as_parsed()
  paths = [str(path) for path in builder.info.splits['train'].filepaths]
  shape = builder.info.features['image'].shape[1:]
  size = builder.builder_config.data.train_scenes
  batches = Batches(paths, shape, size, seed, batch_size, shard)
  reading = _Reading(batches, workers)
  return feeds.Feed(_given, (), reading.draw, reading.close)


class _Reading:
  """Reads on from where it is, so many steps at a time; begins anew where asked for others."""

  def __init__(self, batches, workers):
    self._batches, self._workers = batches, workers
    self._next, self._iterator = None, None

  def draw(self, start, steps):
    if (start, steps) != self._next:
      self.close()
      chunks = Chunks(self._batches, start, steps)
      ahead = grain.MapDataset.source(chunks).to_iter_dataset(
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
