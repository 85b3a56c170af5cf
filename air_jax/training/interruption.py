"""Ctrl-C and SIGTERM as a request to stop after a checkpoint."""

import signal
from types import FrameType


class Interruption:
  """Records the first Ctrl-C or SIGTERM; a second one acts as usual. A context manager."""

  def __init__(self) -> None:
    self.signal = 0  # its number, once it came

  def __enter__(self) -> 'Interruption':
    self._former = {n: signal.signal(n, self._record) for n in (signal.SIGINT, signal.SIGTERM)}
    return self

  def __exit__(self, *exception: object) -> None:
    for number, handler in self._former.items():
      signal.signal(number, handler)

  def _record(self, number: int, frame: FrameType | None) -> None:
    self.signal = number
    signal.signal(number, self._former[number])
