"""What one request may take: bytes, and turns in the threads that do the work."""

import asyncio
import contextlib
import re
import tempfile
from collections.abc import Callable
from typing import IO, ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

SMALL = 64_000  # bytes of a body that are kept in memory
_PATIENCE = 4.0  # seconds to wait for other large bodies
_MOST_LETTERS = 200  # of a message
_LENGTH = re.compile(r'\d{1,20}', re.ASCII)
_P = ParamSpec('_P')
_R = TypeVar('_R')


class Refusal(Exception):
  """A request that is not answered. The message is one sentence for the client."""

  def __init__(self, status: int, message: str):
    super().__init__(message)
    self.status = status


def clipped(message: str) -> str:
  """A message of bounded length that can be encoded, whatever part of a request it quotes."""
  text = message.encode('utf-8', 'replace').decode()
  return text if len(text) <= _MOST_LETTERS else f'{text[: _MOST_LETTERS - 3]}...'


class Uploads:
  """Receives bodies: small ones into memory, a few large ones at once into temporary files."""

  def __init__(self, at_once: int):
    """Allows `at_once` bodies of more than `SMALL` bytes, until their requests are answered."""
    self._places = asyncio.Semaphore(at_once)

  async def receive(
    self, request: Request, most: int, held: contextlib.AsyncExitStack
  ) -> IO[bytes]:
    """Receives the body of a request, of at most `most` bytes.

    Args:
      request: the request.
      most: bytes, whatever the headers say.
      held: what the body takes, until this is closed.

    Raises:
      Refusal: the body is too large, or there are too many large ones.
      ClientDisconnect: the client has left.
    """
    length = request.headers.get('content-length', '0')
    if not _LENGTH.fullmatch(length):
      raise Refusal(400, 'Content-Length must be a number')
    if int(length) > most:
      raise _too_large(most)
    body = held.enter_context(tempfile.SpooledTemporaryFile(SMALL))
    large = False
    async for chunk in request.stream():
      if body.tell() + len(chunk) > most:
        raise _too_large(most)
      if body.tell() + len(chunk) > SMALL and not large:
        large = True
        await self._enter(held)
      body.write(chunk)
    body.seek(0)
    return body

  async def _enter(self, held: contextlib.AsyncExitStack) -> None:
    try:
      async with asyncio.timeout(_PATIENCE):
        await held.enter_async_context(self._places)
    except TimeoutError:
      raise busy() from None


class Turns:
  """Runs functions in threads, a few at once; as many as `waiting` others wait for their turn."""

  def __init__(self, at_once: int, waiting: int):
    self._places, self._free = asyncio.Semaphore(at_once), at_once + waiting

  async def run(
    self, request: Request, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs
  ) -> _R:
    """Calls a function when its turn comes.

    Raises:
      Refusal: too many wait already.
      ClientDisconnect: the client has left meanwhile.
    """
    if self._free <= 0:
      raise busy()
    self._free -= 1
    try:
      async with self._places:
        if await request.is_disconnected():
          raise ClientDisconnect
        return await run_in_threadpool(function, *args, **kwargs)
    finally:
      self._free += 1


def _too_large(most: int) -> Refusal:
  return Refusal(413, f'more than {most // 1_000_000} MB')


def busy() -> Refusal:
  """The refusal of a request for which there is no room."""
  return Refusal(503, 'the demo is busy with other requests; try again in a few seconds')
