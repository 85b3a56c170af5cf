"""What a run writes down as it goes: metrics.jsonl and TensorBoard events."""

import json
import os
import time

import numpy as np
from PIL import Image
from tensorboardX import SummaryWriter, summary
from tensorboardX.proto.summary_pb2 import Summary

_BINS = 60  # of a histogram
_OF_HPARAMS = '.hparams'  # how the name of their events file ends


class MetricsLog:
  """What is told of a run. Use as a context manager."""

  def __init__(self, folder, step):
    """Opens the logs of a run that goes on from a step.

    Args:
      folder: the run's folder.
      step: where it goes on; lines of later steps, left by an interruption, are dropped.
    """
    self._path = folder / 'metrics.jsonl'
    kept = [line for line in read(folder) if line['step'] <= step]
    self._started = time.monotonic() - (kept[-1]['wall_s'] if kept else 0.0)
    draft = self._path.with_suffix('.tmp')
    draft.write_text(''.join(json.dumps(line) + '\n' for line in kept))
    os.replace(draft, self._path)
    self._file = self._path.open('a')
    self._events_folder = folder / 'tensorboard'
    self._events = SummaryWriter(str(self._events_folder), purge_step=step + 1, flush_secs=1)

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self._file.close()
    self._events.close()

  def scalars(self, step, split, values):
    """Writes scalars of one split, 'train' or 'test', at a step."""
    line = {'step': step, 'wall_s': round(time.monotonic() - self._started, 3), 'split': split}
    self._file.write(json.dumps(line | values) + '\n')
    self._file.flush()
    for name, value in values.items():
      self._events.add_scalar(f'{split}/{name}', value, step)

  def pictures(self, step, paths):
    """Adds PNG files to TensorBoard, each under its name."""
    for path in paths:
      with Image.open(path) as image:
        width, height = image.size
        channels = len(image.getbands())
      shown = Summary.Image(
        width=width, height=height, colorspace=channels, encoded_image_string=path.read_bytes()
      )
      value = Summary.Value(tag=path.stem, image=shown)
      self._events.file_writer.add_summary(Summary(value=[value]), step)
    self._events.flush()

  def histograms(self, step, values):
    """Adds to TensorBoard how the numbers in arrays are spread; empty ones are left out."""
    for name, each in values.items():
      finite = each[np.isfinite(each)]
      if finite.size:
        self._events.add_histogram(f'posterior/{name}', finite, step, bins=_BINS)

  def hparams(self, flat, metrics):
    """Tells TensorBoard's table of runs by what configuration which scalars were reached.

    Args:
      flat: dict of the configuration, by dotted key.
      metrics: names of scalars as TensorBoard knows them, such as 'test/elbo'.
    """
    # TensorBoard believes the first it reads: a file apart, which replaces an earlier one.
    for former in self._events_folder.glob(f'*{_OF_HPARAMS}'):
      former.unlink()
    shown = {key: str(x) if isinstance(x, tuple) else x for key, x in flat.items()}
    with SummaryWriter(str(self._events_folder), filename_suffix=_OF_HPARAMS) as events:
      for part in summary.hparams(shown, dict.fromkeys(metrics)):
        events.file_writer.add_summary(part)


def read(folder):
  """The lines of a run's metrics.jsonl as dicts; a last line cut short by a kill is left out."""
  try:
    text = (folder / 'metrics.jsonl').read_text()
  except FileNotFoundError:
    return []
  lines = text.split('\n')[:-1]
  return [json.loads(line) for line in lines]
