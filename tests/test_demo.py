"""--mode=demo: its answers are the model's; a browser shows them; what cannot be is said."""

import base64
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import demo_page
import jax
import numpy as np
import pytest
from PIL import Image

import air_jax
from air_jax.data import loading, pictures
from air_jax.inference import latent_edits

MISNAMED = {'edit': 'move', 'which': 0, 'by': {'up': 1}}


@pytest.fixture(scope='module')
def model(finished_run):
  return air_jax.load(finished_run)


@pytest.fixture(scope='module')
def address(finished_run, compile_cache):
  with demo_page.served(finished_run, compile_cache) as address:
    yield address


def ask(address, path, body):
  with urllib.request.urlopen(address + path, body) as reply:
    return json.loads(reply.read())


def refused(address, path, body):
  with pytest.raises(urllib.error.HTTPError) as caught:
    ask(address, path, body)
  with caught.value as reply:
    return reply.code, json.loads(reply.read())['error']


def pixels(url):
  head, content = url.split(',')
  assert head == 'data:image/png;base64'
  return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def assert_tells(told, scene):
  """What the page is told is the one scene there is."""
  count = int(scene.counts[0])
  assert told['count'] == count == len(told['objects'])
  np.testing.assert_allclose(told['probs'], scene.count_probs[0], atol=1e-5)
  canvas = np.clip(scene.canvases[0, ..., 0], 0, 1)
  np.testing.assert_allclose(pixels(told['canvas']) / 255, canvas, atol=0.01)
  for t, found in enumerate(told['objects']):
    np.testing.assert_allclose(found['box'], scene.boxes[0, t] / 50, atol=0.021)  # a pixel
    assert found['score'] == pytest.approx(scene.scores[0, t], abs=1e-5)
  for name, values in scene.latents._asdict().items():
    np.testing.assert_allclose(told['latents'][name], values[0], rtol=1e-4, atol=1e-5)


@pytest.fixture(scope='module')
def picture(model):
  """A held-out picture, twice as large, as a file."""
  image = loading.load(model.config.data, 'test').images[1, ..., 0]
  file = io.BytesIO()
  Image.fromarray(image.repeat(2, 0).repeat(2, 1)).save(file, 'png')
  return file.getvalue()


def test_a_picture_is_explained_as_the_model_does(model, address, picture):
  told = ask(address, '/parse', picture)
  fitted = pictures.fit(Image.open(io.BytesIO(picture)), 50, 'crop')
  assert_tells(told, model.parse(np.asarray(fitted)[None]))
  np.testing.assert_array_equal(pixels(told['image']), fitted)


def test_objects_are_changed_as_asked(model, address, picture):
  told = ask(address, '/parse', picture)
  scene = model.parse(np.asarray(pictures.fit(Image.open(io.BytesIO(picture)), 50, 'crop'))[None])
  for changes, expected in (
    ([{'edit': 'move', 'which': 0, 'by': {'right': 0.1, 'down': -0.2}}],
     lambda latents: latent_edits.move(latents, 0, down=-0.2, right=0.1)),
    ([{'edit': 'remove', 'which': 0}, {'edit': 'resize', 'which': 0, 'by': {'factor': 1.3}}],
     lambda latents: latent_edits.resize(latent_edits.remove(latents, 0), 0, 1.3)),
  ):  # fmt: skip
    body = json.dumps({'latents': told['latents'], 'changes': changes}).encode()
    assert_tells(ask(address, '/edit', body), model.edit(scene, expected))


def test_scenes_are_imagined_and_taken_from_what_was_held_out(model, address):
  assert_tells(ask(address, '/imagine', b'7'), model.generate(1, jax.random.key(7)))
  images = loading.load(model.config.data, 'test').images
  told = ask(address, '/example', str(len(images) + 3).encode())
  assert_tells(told, model.parse(images[3:4]))
  np.testing.assert_array_equal(pixels(told['image']), images[3, ..., 0])


def test_what_cannot_be_understood_is_refused(address, picture):
  assert refused(address, '/parse', b'no picture') == (
    400,
    'this file cannot be read as a picture',
  )
  latents = ask(address, '/parse', picture)['latents']
  for body in (
    b'{}',
    b'[',
    b'[]',
    json.dumps({'latents': latents, 'changes': [{'edit': 'paint', 'which': 0}]}).encode(),
    json.dumps({'latents': latents | {'z_what': [1]}, 'changes': []}).encode(),
    json.dumps({'latents': latents, 'changes': [{'edit': 'move', 'which': 'x'}]}).encode(),
    json.dumps({'latents': latents, 'changes': [MISNAMED]}).encode(),
  ):  # fmt: skip
    code, error = refused(address, '/edit', body)
    assert code == 400 and error.startswith('not understood')
  assert refused(address, '/imagine', b'one')[0] == 400
  connection = http.client.HTTPConnection(address.removeprefix('http://'))
  connection.putrequest('POST', '/parse')
  connection.putheader('Content-Length', '20000001')
  connection.endheaders()
  assert connection.getresponse().status == 413
  connection.close()


def test_the_page_shows_what_the_server_tells(address, picture, tmp_path):
  with demo_page.opened(address) as page:
    assert page.inner_text('#count') == ''
    demo_page.draw(page, [(0.2, 0.2), (0.4, 0.2), (0.3, 0.5)], [(0.7, 0.5), (0.7, 0.85)])
    drawn = page.evaluate("document.querySelector('#paper').toDataURL()")
    told = ask(address, '/parse', base64.b64decode(drawn.split(',')[1]))
    objects = 'object' if told['count'] == 1 else 'objects'
    assert page.inner_text('#count') == f'{told["count"]} {objects}'
    assert page.get_attribute('#painted', 'src') == told['canvas']
    assert page.locator('#objects li').count() == told['count']
    shown = [float(p.inner_text().split()[1]) for p in page.locator('.bar').all()]
    np.testing.assert_allclose(shown, told['probs'], atol=6e-4)
    assert 0 < page.evaluate('Number(document.body.dataset.milliseconds)') < 10_000

    # A file, shown as it was fitted; and a clean sheet.
    (tmp_path / 'mine.png').write_bytes(picture)
    with demo_page.answered(page):
      page.set_input_files('#file', tmp_path / 'mine.png')
    assert page.evaluate('scene.image') == ask(address, '/parse', picture)['image']
    drawn = pixels(page.evaluate("document.querySelector('#paper').toDataURL()"))
    np.testing.assert_array_equal(drawn[4::8, 4::8, 0], pixels(page.evaluate('scene.image')))
    page.click('#clear')
    assert page.inner_text('#count') == '' and page.evaluate('scene') is None


def _main(*flags, **env):
  command = [sys.executable, demo_page.ROOT / 'main.py', '--mode=demo', *flags]
  done = subprocess.run(
    command, capture_output=True, text=True, env=os.environ | env, timeout=120, check=False
  )
  assert done.returncode == 2 and not done.stdout
  (line,) = done.stderr.splitlines()
  return line


def test_what_stands_in_the_way_is_said(finished_run, tmp_path):
  with socket.socket() as taken:
    taken.bind(('127.0.0.1', 0))
    taken.listen()
    port = taken.getsockname()[1]
    line = _main(f'--workdir={finished_run}', f'--port={port}')
  assert f'--port={port} cannot be used: Address already in use' in line
  assert '--port=65536' in _main('--port=65536')
  assert '--host=nowhere.invalid' in _main('--host=nowhere.invalid')
  assert 'holds no run' in _main(f'--workdir={tmp_path}', '--port=0')
  missing = "raise ModuleNotFoundError('none', name='uvicorn')"
  (tmp_path / 'uvicorn.py').write_text(missing)
  line = _main('--port=0', PYTHONPATH=str(tmp_path))
  assert "needs uvicorn, which is not installed: pip install 'air_jax[demo]'" in line
