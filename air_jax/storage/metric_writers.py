"""What a run writes down as it goes, as callbacks: metrics.jsonl and TensorBoard events.

Each writer serves the run's folder, and in a population also the folders of its members.
"""

import json
import os
import pathlib
import time
from typing import Any

import numpy as np
from absl import logging

from air_jax.callbacks import Callback, FigureRecord, MetricsRecord
from air_jax.config.schema import Config
from air_jax.runtime import extras, files
from air_jax.storage import run_dir

_FILE = 'metrics.jsonl'
_BINS = 60  # of a histogram
_HPARAMS = '.hparams'  # how the name of their events file ends

Record = dict[str, Any]  # `step`, `wall_s`, `split`, and scalars by name


class _PerMember(Callback):
  """Opens something for the run and for each of its members when training starts."""

  def __init__(self, workdir: str | os.PathLike, size: int = 1):
    """Takes the run's folder and how many members it has."""
    self._folder, self._size = pathlib.Path(os.path.expanduser(workdir)), size
    self._open: dict[int | None, Any] = {}

  def on_start(self, step: int, config: Config) -> None:
    members = dict(enumerate(run_dir.member_dirs(self._folder, self._size)))
    folders = {None: self._folder} | (members if self._size > 1 else {})
    self._open = {member: self._open_one(folder, step) for member, folder in folders.items()}

  def on_end(self, summary: dict[str, Any] | None) -> None:
    for each in self._open.values():
      each.close()

  def _open_one(self, folder: pathlib.Path, step: int) -> Any:
    raise TypeError(f'{type(self).__name__} opens nothing')


class JsonlWriter(_PerMember):
  """Writes metrics.jsonl: `step`, `wall_s` (seconds of training), `split` and scalars a line."""

  def on_metrics(self, record: MetricsRecord) -> None:
    self._open[record.member].write(record)

  def _open_one(self, folder: pathlib.Path, step: int) -> '_JsonlFile':
    return _JsonlFile(folder, step)


class _JsonlFile:
  """One metrics.jsonl, continued at a step; lines of later steps are dropped."""

  def __init__(self, folder: pathlib.Path, step: int):
    kept = [line for line in read_metrics(folder) if line['step'] <= step]
    self._started = time.monotonic() - (kept[-1]['wall_s'] if kept else 0.0)
    files.write_atomic(folder / _FILE, ''.join(json.dumps(line) + '\n' for line in kept))
    self._file = (folder / _FILE).open('a')

  def write(self, record: MetricsRecord) -> None:
    wall = round(time.monotonic() - self._started, 3)
    line = {'step': record.step, 'wall_s': wall, 'split': record.split} | record.scalars
    self._file.write(json.dumps(line) + '\n')
    self._file.flush()

  def close(self) -> None:
    self._file.close()


class TensorBoardWriter(_PerMember):
  """Writes TensorBoard events: scalars, figures, histograms and the table of runs."""

  def on_metrics(self, record: MetricsRecord) -> None:
    events = self._open[record.member]
    for name, value in record.scalars.items():
      events.add_scalar(f'{record.split}/{name}', value, record.step)

  def on_histograms(self, step: int, member: int | None, values: dict[str, np.ndarray]) -> None:
    for name, each in values.items():
      finite = each[np.isfinite(each)]
      if finite.size:
        self._open[member].add_histogram(f'posterior/{name}', finite, step, bins=_BINS)

  def on_figure(self, figure: FigureRecord) -> None:
    if figure.path.suffix != '.png':
      return
    from PIL import Image
    from tensorboardX.proto.summary_pb2 import Summary

    with Image.open(figure.path) as image:
      width, height = image.size
      channels = len(image.getbands())
    shown = Summary.Image(
      width=width,
      height=height,
      colorspace=channels,
      encoded_image_string=figure.path.read_bytes(),
    )
    events = self._open[figure.member]
    value = Summary.Value(tag=figure.name, image=shown)
    events.file_writer.add_summary(Summary(value=[value]), figure.step)
    events.flush()

  def on_hparams(
    self, step: int, member: int | None, config: dict[str, Any], metrics: list[str]
  ) -> None:
    from tensorboardX import SummaryWriter, summary

    # TensorBoard believes the first it reads: a file apart, which replaces an earlier one.
    folder = pathlib.Path(self._open[member].logdir)
    for former in folder.glob(f'*{_HPARAMS}'):
      former.unlink()
    shown = {key: str(x) if isinstance(x, tuple) else x for key, x in config.items()}
    with SummaryWriter(str(folder), filename_suffix=_HPARAMS) as events:
      for part in summary.hparams(shown, dict.fromkeys(metrics)):
        events.file_writer.add_summary(part)

  def _open_one(self, folder: pathlib.Path, step: int) -> Any:
    with extras.needed('plots', 'writing TensorBoard events'):
      from tensorboardX import SummaryWriter
    return SummaryWriter(str(folder / 'tensorboard'), purge_step=step + 1, flush_secs=1)


def read_metrics(folder: pathlib.Path) -> list[Record]:
  """The records of a run's metrics.jsonl.

  Lines that cannot be read are left out and logged; a last line cut short by a kill is not logged.
  """
  try:
    content = (folder / _FILE).read_bytes()
  except FileNotFoundError:
    return []
  records, bad = [], []
  for number, line in enumerate(content.split(b'\n')[:-1], 1):
    try:
      record = json.loads(line.decode())
      record['step'] + record['wall_s']  # both must be numbers
      records.append(record | {'split': str(record['split'])})
    except (ValueError, TypeError, KeyError, RecursionError):
      bad.append(number)
  if bad:
    logging.warning('%s: lines %s cannot be read, and are left out', folder / _FILE, bad)
  return records
