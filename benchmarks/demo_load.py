"""Whether the demo still answers a person while a thousand connections misbehave.

    python -m benchmarks.demo_load [--workdir=FOLDER] [--strokes=200] [--connections=1000]

Clients send half a header, a byte each second, noise, bodies without end, pictures of very many
pixels, or leave; each comes back a second after it was cut off. Meanwhile drawn strokes are posted
one after the other. The server is a process of its own, and so are the clients.
"""

import asyncio
import functools
import http.client
import io
import multiprocessing
import pathlib
import random
import re
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

from absl import app, flags, logging
from PIL import Image, ImageDraw

from air_jax.inference.demo import server
from benchmarks import demo

_CONNECTIONS = flags.DEFINE_integer('connections', 1000, 'Misbehaving clients.', lower_bound=0)
_PAUSE = 0.1  # seconds between strokes
_WARM_UP = 20  # strokes
_SETTLE = 3.0  # seconds until all clients have connected
_HEAD = b'POST /parse HTTP/1.1\r\nHost: localhost\r\n'
_Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _half_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
  writer.write(_HEAD)
  await _trickle(writer, b'X')


async def _slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
  writer.write(_HEAD + b'Content-Length: 19000000\r\n\r\n' + bytes(50_000))
  await _trickle(writer, b'X')


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
  await reader.read()


async def _noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
  writer.write(random.randbytes(2000))
  await reader.read()


async def _endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
  writer.write(_HEAD + b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n')
  chunk = b'10000\r\n' + bytes(1 << 16) + b'\r\n'
  while True:
    writer.write(chunk)
    await writer.drain()


async def _huge_picture(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
  picture = random.choice(_pictures())
  writer.write(_HEAD + b'Connection: close\r\nContent-Length: %d\r\n\r\n' % len(picture) + picture)
  await reader.read()


async def _leaving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
  writer.write(_HEAD + b'Content-Length: 5000\r\n\r\n123')
  await writer.drain()


async def _trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
  while True:
    writer.write(data)
    await writer.drain()
    await asyncio.sleep(1)


# How many of a hundred clients do what.
_KINDS: list[tuple[int, _Client]] = [
  (40, _half_header),
  (25, _slow_body),
  (14, _silent),
  (10, _noise),
  (5, _leaving),
  (3, _endless),
  (3, _huge_picture),
]


async def _client(port: int, behave: _Client) -> None:
  while True:
    try:
      reader, writer = await asyncio.open_connection('127.0.0.1', port)
      try:
        await behave(reader, writer)
      finally:
        writer.close()
    except OSError:  # cut off
      pass
    await asyncio.sleep(1)


def _misbehave(port: int, number: int) -> None:
  kinds = [behave for share, behave in _KINDS for _ in range(share)]

  async def all_of_them() -> None:
    await asyncio.gather(*(_client(port, kinds[i % len(kinds)]) for i in range(number)))

  _pictures()
  asyncio.run(all_of_them())


@functools.cache
def _pictures() -> list[bytes]:
  """Two PNG of a few kB: one is just small enough to be decoded, the other is not."""
  files = [io.BytesIO(), io.BytesIO()]
  for file, side in zip(files, (4000, 9400), strict=True):
    Image.new('RGB', (side, side)).save(file, 'png')
  return [file.getvalue() for file in files]


def _serve(workdir: str | None, ready: Connection) -> None:
  logging.set_verbosity(logging.WARNING)  # orbax logs every rename
  listening = server.listen('127.0.0.1', 0)
  ready.send(listening.getsockname()[1])
  server.serve(demo.load(workdir), listening, '127.0.0.1')


def main(argv: list[str]) -> None:
  """Measures and prints."""
  del argv
  spawn = multiprocessing.get_context('spawn')
  receiving, sending = spawn.Pipe()
  serving = spawn.Process(target=_serve, args=(demo.WORKDIR.value, sending), daemon=True)
  serving.start()
  port = receiving.recv()
  for i in range(_WARM_UP):
    _stroke(port, i)
  before, quiet = _resident(serving.pid, 'VmRSS'), []
  for i in range(_WARM_UP):
    quiet.append(_stroke(port, i))
  clients = spawn.Process(target=_misbehave, args=(port, _CONNECTIONS.value), daemon=True)
  clients.start()
  time.sleep(_SETTLE)
  milliseconds, failed = [], 0
  for i in range(demo.STROKES.value):
    try:
      milliseconds.append(_stroke(port, i))
    except (OSError, http.client.HTTPException, AssertionError) as error:
      failed += 1
      print(f'not answered: {error!r}')
    time.sleep(_PAUSE)
  after, peak = _resident(serving.pid, 'VmRSS'), _resident(serving.pid, 'VmHWM')
  clients.terminate()
  serving.terminate()
  if not milliseconds:
    raise SystemExit('no stroke was answered')
  worst = statistics.quantiles(milliseconds, n=20)[-1] if len(milliseconds) > 1 else milliseconds[0]
  print(f'connections     {_CONNECTIONS.value:8}')
  print(f'strokes         {len(milliseconds):8}, and {failed} not answered')
  print(f'without load    {statistics.median(quiet):8.1f} ms, median')
  print(f'with load       {statistics.median(milliseconds):8.1f} ms, median')
  print(f'                {worst:8.1f} ms, 95th percentile')
  print(f'memory before   {before:8.0f} MB')
  print(f'       growth   {after - before:8.0f} MB at the end, {peak - before:.0f} MB at the peak')


def _stroke(port: int, number: int) -> float:
  """Posts a drawn stroke as the page does; returns the milliseconds until the whole answer."""
  drawn = Image.new('RGB', (400, 400))
  x = 60 + 40 * (number % 8)
  ImageDraw.Draw(drawn).line([(x, 80), (400 - x, 300)], 'white', 30)
  file = io.BytesIO()
  drawn.save(file, 'png')
  started = time.perf_counter()
  connection = http.client.HTTPConnection('127.0.0.1', port, timeout=120)
  try:
    connection.request('POST', '/parse', file.getvalue())
    reply = connection.getresponse()
    answer = reply.read()
    assert reply.status == 200, answer
  finally:
    connection.close()
  return 1000 * (time.perf_counter() - started)


def _resident(process: int | None, name: str) -> float:
  """Resident memory of a process in MB: now, VmRSS, or at most so far, VmHWM."""
  status = pathlib.Path(f'/proc/{process}/status').read_text()
  found = re.search(rf'{name}:\s+(\d+) kB', status)
  assert found, status
  return int(found[1]) / 1000


if __name__ == '__main__':
  app.run(main)
