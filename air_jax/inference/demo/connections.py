"""The connections of the demo: a client that keeps the server waiting for too long is cut off.

Uvicorn has a time limit for idle connections, but none for a header or a body that is never
finished, or an answer that is never read. Its limit of connections would refuse the user too.
"""

import asyncio
import contextlib
import resource
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_PATIENCE = 6.0  # seconds for a request to arrive
_BYTES_PER_SECOND = 100_000  # larger ones have the time that they need at this rate
_MOST_WAITING = 256  # connections without a whole request; the oldest of more are closed
_YOUNG = 1.0  # seconds in which a connection is never closed to make room
_MOST_FILES = 8192


def allow_many() -> None:
  """Raises this process's limit of open files: many connections may arrive at once."""
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
  if soft != resource.RLIM_INFINITY and soft < most:
    with contextlib.suppress(OSError, ValueError):  # some systems allow fewer than they say
      resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class Connection(H11Protocol):
  """A connection that is closed when its next request takes long to arrive."""

  _since = 0.0  # when the server began to wait for this request
  _received = 0  # bytes since then
  _timer: asyncio.TimerHandle | None = None

  def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
    """Begins to wait; makes room if there are too many."""
    super().connection_made(transport)
    self._begin()
    others = [each for each in self.connections if cast(Connection, each)._waits()]
    if len(others) > _MOST_WAITING:
      oldest = cast(Connection, min(others, key=lambda each: cast(Connection, each)._since))
      if self._since - oldest._since > _YOUNG:
        oldest.transport.abort()

  def data_received(self, data: bytes) -> None:
    """Counts what arrives."""
    self._received += len(data)
    super().data_received(data)

  def on_response_complete(self) -> None:
    """Begins to wait for the next request."""
    self._begin()
    super().on_response_complete()

  def connection_lost(self, exc: Exception | None) -> None:
    """Stops waiting."""
    if self._timer is not None:
      self._timer.cancel()
    super().connection_lost(exc)

  def _begin(self) -> None:
    self._since, self._received = self.loop.time(), 0
    self._wait(_PATIENCE)

  def _wait(self, seconds: float) -> None:
    if self._timer is not None:
      self._timer.cancel()
    self._timer = self.loop.call_later(seconds, self._expire)

  def _waits(self) -> bool:
    """Whether it is the client's turn: the request is not whole, or it is answered already."""
    whole = self.conn.their_state in (h11.DONE, h11.MUST_CLOSE)
    return not (whole and self.cycle is not None and not self.cycle.response_complete)

  def _expire(self) -> None:
    waited = self.loop.time() - self._since
    left = _PATIENCE + self._received / _BYTES_PER_SECOND - waited
    if not self._waits():
      self._wait(_PATIENCE)
    elif left > 0:
      self._wait(left)
    else:
      self.transport.abort()  # `close` would wait for a client that does not read
