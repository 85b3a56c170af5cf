"""Batches read ahead from disk, for data sets larger than memory."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds
from absl import flags
from jaxtyping import Int32, UInt8
from tensorflow_datasets.proto import tf_example_pb2

from air_jax.data import batches

_AHEAD = 1  # chunks that each worker keeps ready

Chunk = tuple[UInt8[np.ndarray, 'steps shard H W C'], Int32[np.ndarray, 'steps shard']]


class Chunks:
  """The batches of several training steps at once, by random access.

  Every message to another process has a cost, so a worker sends whole chunks. Chunk k has the
  batches of steps start + k steps .. start + (k + 1) steps - 1.
  """

  def __init__(
    self,
    records: Sequence[bytes],
    shape: tuple[int, int, int],
    size: int,
    batch_size: int,
    shard: slice,
    seed: int,
    start: int,
    steps: int,
  ):
    """Takes records of blocks of scenes, [H, W, C] of an image and the number of scenes."""
    self._records = records
    self._shape, self._size, self._seed, self._batch_size = shape, size, seed, batch_size
    self._first, self._end, _ = shard.indices(batch_size)
    self._start, self._steps = start, steps

  def __len__(self) -> int:
    return 2**31 - 1  # there is no last step

  def __getitem__(self, number: int) -> Chunk:
    """Images and counts of the shard of each batch."""
    shard_size = self._end - self._first
    images = np.empty((self._steps, shard_size, *self._shape), np.uint8)
    counts = np.empty((self._steps, shard_size), np.int32)
    for i in range(self._steps):
      # In place: joining arrays would take as long again.
      self._read(self._start + number * self._steps + i, images[i], counts[i])
    return images, counts

  def _read(self, step: int, images: np.ndarray, counts: np.ndarray) -> None:
    """Fills in the shard of a step's batch."""
    blocks = batches.batch_blocks(self._seed, step, self._batch_size, self._size, batches.BLOCK)
    for i in range(self._first // batches.BLOCK, -(-self._end // batches.BLOCK)):
      begin = batches.BLOCK * i
      low, high = max(begin, self._first), min(begin + batches.BLOCK, self._end)
      # One by one: reading several records starts a pool of threads, at ten times the cost. By
      # hand: TFDS would decode every feature.
      record = tf_example_pb2.Example.FromString(self._records[blocks[i]])
      feature = record.features.feature
      rows = np.frombuffer(feature['image'].bytes_list.value[0], np.uint8)
      to, part = slice(low - self._first, high - self._first), slice(low - begin, high - begin)
      images[to] = rows.reshape(-1, *self._shape)[part]
      counts[to] = np.array(feature['count'].int64_list.value, np.int32)[part]


def stream(
  builder: tfds.core.DatasetBuilder, batch_size: int, workers: int, shard: slice = slice(None)
) -> batches.BatchSource:
  """Batches of a prepared data set: those that `batches.resident` gives of its blocks.

  Args:
    builder: from `tfds_builders.for_config`, prepared.
    batch_size: B.
    workers: number of processes that read ahead; 0: a thread of this process.
    shard: slice of [B] to read; other processes read the rest.
  """
  # Grain reads an absl flag, which fails in programs that parse none
  # (https://github.com/google/grain/issues/1355).
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
  paths = [str(path) for path in builder.info.splits['train'].filepaths]
  shape = builder.info.features['image'].shape[1:]
  size = builder.builder_config.data.train_scenes
  records = grain.sources.ArrayRecordDataSource(paths)
  readers = _Readers(functools.partial(Chunks, records, shape, size, batch_size, shard), workers)
  return batches.BatchSource(_from_disk, (), readers.read, readers.close)


class _Readers:
  """A reader for each seed: the members of a population read different batches."""

  def __init__(self, make_chunks: Callable[[int, int, int], Chunks], workers: int):
    self._make_chunks, self._workers = make_chunks, workers
    self._by_seed: dict[int, _Reader] = {}

  def read(self, seed: int, start: int, steps: int) -> Chunk:
    """The batches of the steps from `start` on."""
    if seed not in self._by_seed:
      self._by_seed[seed] = _Reader(functools.partial(self._make_chunks, seed), self._workers)
    return self._by_seed[seed].read(start, steps)

  def close(self) -> None:
    """Stops the workers."""
    for reader in self._by_seed.values():
      reader.close()


class _Reader:
  """Reads chunks one after another, and starts again when asked for other steps."""

  def __init__(self, make_chunks: Callable[[int, int], Chunks], workers: int):
    self._make_chunks, self._workers = make_chunks, workers
    self._next: tuple[int, int] | None = None  # (start, steps) of the chunk that comes next
    self._iterator: Any = None

  def read(self, start: int, steps: int) -> Chunk:
    """The batches of the steps from `start` on."""
    if (start, steps) != self._next:
      self.close()
      self._iterator = self._open(start, steps)
    self._next = start + steps, steps
    return next(self._iterator)

  def _open(self, start: int, steps: int) -> Iterator[Chunk]:
    ahead = grain.MapDataset.source(self._make_chunks(start, steps)).to_iter_dataset(
      grain.ReadOptions(num_threads=0 if self._workers else 1, prefetch_buffer_size=_AHEAD)
    )
    if self._workers:
      ahead = ahead.mp_prefetch(
        grain.MultiprocessingOptions(self._workers, per_worker_buffer_size=_AHEAD)
      )
    return iter(ahead)

  def close(self) -> None:
    """Stops the workers."""
    if self._iterator is not None:
      self._iterator.close()
      self._iterator = self._next = None


def _from_disk(arrays: tuple, batch: batches.Batch) -> batches.Batch:
  """A stream's indices are its batches."""
  del arrays
  return batch
