"""The demo on input of any kind: it refuses in one sentence, and keeps answering.

The server runs in a thread of this process, on an untrained model: what is tested here does not
depend on what a run has learned.
"""

import asyncio
import base64
import contextlib
import dataclasses
import http.client
import io
import json
import socket
import threading
import time
import tracemalloc
import types
import zlib

import jax
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from air_jax.config import schema
from air_jax.configs import tiny
from air_jax.errors import UserError
from air_jax.inference import predictor
from air_jax.inference.demo import access, answers, connections, limits, server
from air_jax.model import air
from air_jax.runtime import memory

CONFIG = schema.parse(tiny.get_config())
HEAD = b'POST /parse HTTP/1.1\r\nHost: localhost\r\n'


@pytest.fixture(scope='module')
def demo_model():
  model = air.build(CONFIG.model)
  return predictor.Model(CONFIG, model, air.init(model, jax.random.key(0)), step=0)


@contextlib.contextmanager
def served(demo_model):
  """The port of a server."""
  with server.listen('127.0.0.1', 0) as listening:
    number = listening.getsockname()[1]
    running = server.web_server(server.application(demo_model, '127.0.0.1', '127.0.0.1'))
    thread = threading.Thread(target=running.run, args=([listening],))
    thread.start()
    yield number
    running.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


@pytest.fixture(scope='module')
def port(demo_model):
  with served(demo_model) as number:
    yield number


def ask(port, path, body=None, method='POST', headers=None):
  with contextlib.closing(http.client.HTTPConnection('127.0.0.1', port, timeout=60)) as connection:
    connection.request(method, path, body, headers or {})
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


def refused(port, path, body=None, **options):
  """The status and the message of a refusal: one sentence of bounded length."""
  status, answer = ask(port, path, body, **options)
  assert answer.keys() == {'error'} and 0 < len(answer['error']) <= 200
  return status, answer['error']


def png(side, claimed=None):
  """A PNG; its header may claim to have another side."""
  file = io.BytesIO()
  Image.new('L', (side, side), 200).save(file, 'png')
  whole = file.getvalue()
  if claimed:
    header = b'IHDR' + claimed.to_bytes(4) * 2 + whole[24:29]
    whole = whole[:12] + header + zlib.crc32(header).to_bytes(4) + whole[33:]
  return whole


def test_a_file_gets_the_levels_of_the_run_and_a_drawing_none(demo_model):
  data = dataclasses.replace(CONFIG.data, levels=(1000.0, 2000.0), invert=True)
  config = dataclasses.replace(CONFIG, data=data)
  stretched = predictor.Model(config, demo_model.model, demo_model.params, 0)
  values = np.full((100, 100), 1200, np.uint16)

  def brightness(path, pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'png')
    _, content = ask(number, path, file.getvalue())[1]['image'].split(',')
    return np.unique(np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))).tolist()

  with served(stretched) as number:
    assert brightness('/parse', values) == [255 - 51]
    assert brightness('/parse', values.repeat(20, 0).repeat(20, 1)) == [255 - 51]  # it is reduced
    assert brightness('/parse?drawn', np.full((100, 100), 77, np.uint8)) == [77]


@pytest.mark.parametrize('declared', [b'Content-Length: 5\r\n', b''])
def test_a_body_is_counted_as_it_comes(port, declared):
  with socket.create_connection(('127.0.0.1', port), 30) as client:
    client.sendall(HEAD + declared + b'Transfer-Encoding: chunked\r\n\r\n')
    sent = []
    with contextlib.suppress(OSError):  # the server closes the connection
      while len(sent) < 100:
        client.sendall(b'100000\r\n' + bytes(1 << 20) + b'\r\n')
        sent.append(1)
    assert 18 < len(sent) < 60  # sockets hold a few megabytes
    assert client.recv(4096).startswith(b'HTTP/1.1 413')


def test_a_declared_length_must_be_a_number_within_the_limit():
  for length, status in (('20000001', 413), ('x', 400), ('9' * 5000, 400), ('٣', 400)):
    with pytest.raises(limits.Refusal) as caught:
      receive(limits.Uploads(1), [], {'content-length': length})
    assert caught.value.status == status


def receive(uploads, chunks, headers, read=True):
  async def stream():
    for chunk in chunks:
      yield chunk

  async def run():
    async with contextlib.AsyncExitStack() as held:
      request = types.SimpleNamespace(headers=headers, stream=stream)
      body = await uploads.receive(request, 20_000_000, held)
      return body.read() if read else None

  return asyncio.run(run())


def test_a_large_body_is_not_kept_in_memory():
  chunks = (bytes(1_000_000) for _ in range(20))
  tracemalloc.start()
  try:
    receive(limits.Uploads(1), chunks, {}, read=False)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
  finally:
    tracemalloc.stop()


def test_only_a_few_large_bodies_are_received_at_once(monkeypatch):
  monkeypatch.setattr(limits, '_PATIENCE', 0.05)
  uploads, large = limits.Uploads(1), [bytes(limits.SMALL), b'x']
  assert receive(uploads, large, {}) == b''.join(large)
  asyncio.run(uploads._places.acquire())  # as if another one were being received
  assert receive(uploads, large[:1], {}) == large[0]
  with pytest.raises(limits.Refusal, match='busy') as caught:
    receive(uploads, large, {})
  assert caught.value.status == 503


def test_few_wait_for_their_turn_and_nobody_works_for_those_who_left():
  async def present():
    return False

  async def absent():
    return True

  async def run():
    turns, go, done = limits.Turns(at_once=1, waiting=1), threading.Event(), []
    here, gone = (types.SimpleNamespace(is_disconnected=f) for f in (present, absent))
    first = asyncio.create_task(turns.run(here, go.wait, 30))
    second = asyncio.create_task(turns.run(gone, done.append, 1))
    await asyncio.sleep(0)
    with pytest.raises(limits.Refusal, match='busy'):
      await turns.run(here, done.append, 2)
    go.set()
    await first
    with pytest.raises(limits.ClientDisconnect):
      await second
    await turns.run(here, done.append, 3)
    assert done == [3]

  asyncio.run(run())


@pytest.mark.parametrize('side, megapixels', [(4100, 17), (9400, 88)])
def test_pixels_are_counted_before_they_are_decoded(port, side, megapixels):
  error = f'this picture has {megapixels} megapixels; the demo reads up to 16 of PNG'
  assert refused(port, '/parse', png(1, claimed=side)) == (400, error)


def test_a_large_picture_is_answered_as_a_small_one_is(port):
  status, answer = ask(port, '/parse', png(2500))
  assert status == 200 and answer == ask(port, '/parse', png(100))[1]


@pytest.mark.parametrize('host', ['localhost', 'LOCALHOST:8000', '127.0.0.1:1', '[::1]:8000'])
def test_own_names_are_served(port, host):
  for headers in ({'Host': host}, {'Host': host, 'Origin': f'http://{host}'}):
    assert ask(port, '/generate', b'1', headers=headers)[0] == 200


@pytest.mark.parametrize(
  'host', ['evil.example', 'localhost.evil.example:8000', '1.2.3.4', '', '[']
)
def test_other_names_are_not_served(port, host):
  """A website may give its own name the address of this machine."""
  for method, path in (('GET', '/'), ('GET', '/model'), ('POST', '/example')):
    status, error = refused(port, path, b'0', method=method, headers={'Host': host})
    assert status == 400 and 'not served by this name' in error


@pytest.mark.parametrize('origin', ['http://evil.example', 'null', 'http://localhost:1', 'x://['])
def test_pages_of_other_websites_are_refused(port, origin):
  headers = {'Host': 'localhost:8000', 'Origin': origin}
  assert refused(port, '/generate', b'1', headers=headers)[0] == 403


def test_on_all_addresses_the_names_of_this_machine_and_any_address_are_served(monkeypatch):
  monkeypatch.setattr(socket, 'gethostname', lambda: 'Box')
  monkeypatch.setattr(socket, 'getfqdn', lambda: 'box.lan')
  for address, host in (('0.0.0.0', '0.0.0.0'), ('::', '::'), ('192.168.1.5', 'desk')):
    serves = access.OwnPagesOnly(None, host, address)._serves
    assert all(map(serves, ['box:8000', 'box.lan', '10.0.0.3:8000', '[fe80::1]', 'localhost']))
    assert not any(map(serves, ['evil.example', 'box.evil.example', '']))
    assert serves('desk') == (host == 'desk')


@pytest.mark.parametrize('many', [0, 1000])
def test_a_client_that_keeps_the_server_waiting_is_cut_off(port, monkeypatch, many):
  monkeypatch.setattr(connections, '_MANY', many)
  monkeypatch.setattr(connections, '_SHORT_PATIENCE', 0.2)
  monkeypatch.setattr(connections, '_PATIENCE', 0.6)
  answered = b'GET /model HTTP/1.1\r\nHost: localhost\r\n\r\n'
  unfinished = HEAD + b'Content-Length: 9\r\n\r\nx'
  with contextlib.ExitStack() as stack:
    clients = []
    for start in (b'', HEAD, unfinished, answered, answered + HEAD, b'\0noise\r\n\r\n'):
      client = socket.create_connection(('127.0.0.1', port), 20)
      clients.append(stack.enter_context(client))
      client.sendall(start)
    assert ask(port, '/generate', b'1')[0] == 200
    for client in clients:
      with contextlib.suppress(ConnectionResetError):
        while client.recv(4096):
          pass


def test_work_may_take_longer_than_the_patience_with_clients(port, monkeypatch, demo_model):
  monkeypatch.setattr(connections, '_SHORT_PATIENCE', 0.1)
  monkeypatch.setattr(connections, '_PATIENCE', 0.2)
  generate = demo_model.generate
  monkeypatch.setattr(demo_model, 'generate', lambda *args: time.sleep(1) or generate(*args))
  assert ask(port, '/generate', b'1')[0] == 200


@pytest.mark.parametrize(
  'body', [b'[' * 100_000, b'{"latents": {"count": NaN}}', b'{"\\ud800": 1}']
)
def test_a_malformed_edit_is_refused(port, body):
  status, error = refused(port, '/edit', body)
  assert status == 400 and error.startswith('not understood')


@pytest.mark.parametrize(
  'quoted, shown', [('x' * 999, 'x' * 197 + '...'), ('\ud800', '?'), ('one', 'one')]
)
def test_a_message_that_quotes_a_request_is_short_and_can_be_sent(quoted, shown):
  assert limits.clipped(quoted) == shown


@pytest.mark.parametrize(
  'body', [b'', b'one', b'9' * 5000, b'1e3', b'\xff', b'x' * 100_000, b'0x1']
)
def test_numbers_are_short(port, body):
  for path in ('/generate', '/example'):
    assert refused(port, path, body)[0] == 400


def test_no_answer_holds_nan(demo_model):
  scenes = demo_model.generate(1, jax.random.key(0))
  answers.to_json(scenes)
  with pytest.raises(UserError, match='no finite numbers'):
    answers.to_json(scenes._replace(count_probs=np.full_like(scenes.count_probs, np.nan)))


@pytest.mark.parametrize('host', ['', '..', 'a' * 70, 'nowhere.invalid'])
def test_a_host_that_is_no_name_is_named(host):
  with pytest.raises(UserError, match=f'--host={host} --port=0 cannot be used: '):
    server.listen(host, 0)


@pytest.mark.parametrize('host, everyone', [('127.0.0.1', False), ('0.0.0.0', True)])
def test_a_server_for_everyone_says_so(demo_model, monkeypatch, capsys, host, everyone):
  monkeypatch.setattr(PngImagePlugin, 'MAX_TEXT_MEMORY', 0)
  monkeypatch.setattr(connections, 'allow_many', lambda: None)
  monkeypatch.setattr(memory, 'give_back', lambda: None)
  monkeypatch.setattr(server.uvicorn.Server, 'run', lambda self, sockets: None)
  with server.listen(host, 0) as listening:
    server.serve(demo_model, listening, host)
  first, *others = capsys.readouterr().out.splitlines()
  assert first.startswith(f'draw at http://{host}:')
  assert len(others) == everyone
  assert all('every machine' in line and 'held-out pictures' in line for line in others)
