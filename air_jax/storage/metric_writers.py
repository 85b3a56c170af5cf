"""Callbacks that write a run's metrics: metrics.jsonl and TensorBoard events.

A writer serves the run's folder, and in a population also the folders of its members.
"""

import functools
import json
import math
import os
import pathlib
import time
from typing import Any, TypedDict

import numpy as np
from absl import logging

from air_jax.callbacks import Callback, FigureRecord, MetricsRecord
from air_jax.config.sections import Config
from air_jax.errors import UserError
from air_jax.runtime import files
from air_jax.runtime.json_forms import mismatch
from air_jax.storage import run_dir
from air_jax.storage.events_file import EventsFile

NAME = 'metrics.jsonl'
_BINS = 60  # of a histogram
_HPARAMS = '.hparams'  # how the name of their events file ends

Record = dict[str, Any]  # `step`, `wall_s`, `split`, and scalars by name


class _Line(TypedDict):
  """What every record has."""

  step: int
  wall_s: float
  split: str


class _PerMember(Callback):
  """Opens something for the run, and for each member of a population, when training starts."""

  def __init__(self, workdir: str | os.PathLike):
    """Takes the run's folder."""
    self._folder = pathlib.Path(os.path.expanduser(workdir))
    self._open: dict[int | None, Any] = {}

  def on_start(self, step: int, config: Config) -> None:
    folders: dict[int | None, pathlib.Path] = {None: self._folder}
    if config.train.population > 1:
      folders.update(enumerate(run_dir.member_dirs(self._folder, config.train.population)))
    for folder in folders.values():
      folder.mkdir(parents=True, exist_ok=True)
    self._open = {member: self._open_one(folder, step) for member, folder in folders.items()}

  def on_end(self, summary: dict[str, Any] | None) -> None:
    for each in self._open.values():
      each.close()

  def _open_one(self, folder: pathlib.Path, step: int) -> Any:
    """Opens it in one folder, where training starts or resumes at a step."""
    raise NotImplementedError


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
    files.write_atomic(folder / NAME, ''.join(json.dumps(line) + '\n' for line in kept))
    self._file = (folder / NAME).open('a')

  def write(self, record: MetricsRecord) -> None:
    wall = round(time.monotonic() - self._started, 3)
    line = {'step': record.step, 'wall_s': wall, 'split': record.split} | record.scalars
    with files.naming(self._file.name):
      self._file.write(json.dumps(line) + '\n')
      self._file.flush()

  def close(self) -> None:
    self._file.close()


class TensorBoardWriter(_PerMember):
  """Writes TensorBoard events: scalars, figures, histograms and the table of runs."""

  def on_metrics(self, record: MetricsRecord) -> None:
    from tensorboardX import summary

    for name, value in record.scalars.items():
      shown = summary.scalar(f'{record.split}/{name}', value)
      self._open[record.member].add(record.step, shown)

  def on_histograms(self, step: int, member: int | None, values: dict[str, np.ndarray]) -> None:
    from tensorboardX import summary

    for name, each in values.items():
      finite = each[np.isfinite(each)]
      if finite.size:
        shown = summary.histogram(f'posterior/{name}', finite, _BINS)
        self._open[member].add(step, shown)

  def on_figure(self, figure: FigureRecord) -> None:
    if figure.path.suffix != '.png':
      return
    from PIL import Image
    from tensorboardX.proto.summary_pb2 import Summary

    with Image.open(figure.path, formats=('PNG',)) as image:
      width, height = image.size
      channels = len(image.getbands())
    shown = Summary.Image(
      width=width,
      height=height,
      colorspace=channels,
      encoded_image_string=figure.path.read_bytes(),
    )
    events = self._open[figure.member]
    events.add(figure.step, Summary(value=[Summary.Value(tag=figure.name, image=shown)]))
    events.flush()

  def on_hparams(
    self, step: int, member: int | None, config: dict[str, Any], metrics: list[str]
  ) -> None:
    from tensorboardX import summary

    # TensorBoard takes the first that it reads. So they have a file of their own, which replaces
    # that of an earlier end of the run.
    folder = self._open[member].folder
    for former in folder.glob(f'*{_HPARAMS}'):
      former.unlink()
    shown = {key: str(x) if isinstance(x, tuple) else x for key, x in config.items()}
    events = EventsFile(folder, _HPARAMS)
    for part in summary.hparams(shown, dict.fromkeys(metrics)):
      events.add(0, part)
    events.close()

  def _open_one(self, folder: pathlib.Path, step: int) -> EventsFile:
    events = EventsFile(folder / 'tensorboard')
    events.purge(step + 1)
    return events


def read_metrics(folder: pathlib.Path) -> list[Record]:
  """The records of a run's metrics.jsonl.

  Lines that hold no record are left out and their numbers are logged, once; blank lines and a last
  line that a kill cut short are left out silently.

  Raises:
    UserError: the file cannot be read.
  """
  path = folder / NAME
  try:
    records, bad = parse(path.read_bytes())
  except FileNotFoundError:
    return []
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror or error}') from error
  if bad:
    _warn(f'{path}: lines without a record are left out: {", ".join(map(str, bad))}')
  return records


def parse(content: bytes) -> tuple[list[Record], list[int]]:
  """The records of the content of a metrics.jsonl, and the numbers of lines that hold none."""
  *lines, last = content.split(b'\n')
  records = [_record(line) for line in lines]
  bad = [i for i, each in enumerate(records, 1) if each is None and lines[i - 1].strip()]
  return [each for each in [*records, _record(last)] if each is not None], bad


def _record(line: bytes) -> Record | None:
  """A line as a record; None where it is none."""
  try:
    record = json.loads(line)
  except (ValueError, RecursionError):
    return None
  if mismatch(record, _Line) or not math.isfinite(record['wall_s']):
    return None
  scalars = {name: value for name, value in record.items() if name != 'split'}
  return None if mismatch(scalars, dict[str, float]) else record


@functools.cache
def _warn(message: str) -> None:
  """Logs a message, the same one only once: a run's metrics are read several times."""
  logging.warning('%s', message)
