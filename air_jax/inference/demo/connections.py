"""The connections of the demo: a client that keeps the server waiting for too long is cut off.

Uvicorn has a time limit for idle connections, but none for a header or a body that is never
finished, or an answer that is never read. Its limit of connections would refuse the user too.
"""

import asyncio
import contextlib
import resource

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_PATIENCE = 6.0  # seconds for a request to arrive
_SHORT_PATIENCE = 1.0  # the same while there are many connections
_MANY = 256
_BYTES_PER_SECOND = 100_000  # larger requests have the time that they need at this rate
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
    """Begins to wait for a request."""
    super().connection_made(transport)
    self._begin()

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
    self._check_later()

  def _check_later(self) -> None:
    if self._timer is not None:
      self._timer.cancel()
    self._timer = self.loop.call_later(_SHORT_PATIENCE, self._check)

  def _check(self) -> None:
    patience = _SHORT_PATIENCE if len(self.connections) > _MANY else _PATIENCE
    allowed = patience + self._received / _BYTES_PER_SECOND
    if self._waits() and self.loop.time() - self._since >= allowed:
      self.transport.abort()  # `close` would wait for a client that does not read
    else:
      self._check_later()

  def _waits(self) -> bool:
    """Whether it is the client's turn: the request is not whole, or it is answered already."""
    whole = self.conn.their_state in (h11.DONE, h11.MUST_CLOSE)
    return not whole or self.cycle is None or self.cycle.response_complete
