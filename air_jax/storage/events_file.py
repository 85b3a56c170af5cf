"""A file of TensorBoard events."""

import pathlib
import time
from typing import Any

from air_jax.runtime import extras, files

_FLUSH_S = 1.0  # at most that old are events that a reader does not see


class EventsFile:
  """Events in a folder, written by the thread that makes them.

  tensorboardX's own writer has a thread of its own: it dies where the disk is full, and the program
  then waits for it for ever.
  """

  def __init__(self, folder: pathlib.Path, suffix: str = ''):
    """Makes the file; `suffix` is how its name ends."""
    with extras.needed('plots', 'writing TensorBoard events'):
      from tensorboardX import event_file_writer
    folder.mkdir(parents=True, exist_ok=True)
    self.folder = folder
    self._events = event_file_writer.EventsWriter(str(folder / 'events'), suffix)
    self._flushed = time.monotonic()

  def purge(self, step: int) -> None:
    """Declares what other files of the folder say of this step, and of later ones, void."""
    from tensorboardX.proto.event_pb2 import SessionLog

    self._write(step, file_version='brain.Event:2')
    self._write(step, session_log=SessionLog(status=SessionLog.START))

  def add(self, step: int, summary: Any) -> None:
    """Adds a `tensorboardX.proto.summary_pb2.Summary`.

    Raises:
      OSError: it cannot be written.
    """
    self._write(step, summary=summary)
    if time.monotonic() - self._flushed > _FLUSH_S:
      self.flush()

  def flush(self) -> None:
    """Shows readers all events so far."""
    with files.naming(self.folder):
      self._events.flush()
    self._flushed = time.monotonic()

  def close(self) -> None:
    """Ends the file."""
    with files.naming(self.folder):
      self._events.close()

  def _write(self, step: int, **content: Any) -> None:
    from tensorboardX.proto.event_pb2 import Event

    with files.naming(self.folder):
      self._events.write_event(Event(step=step, wall_time=time.time(), **content))
