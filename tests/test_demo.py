"""--mode=demo: answers are the model's; a browser shows them; bad requests are refused."""

import base64
import http.client
import importlib
import io
import json
import re
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
from air_jax.errors import UserError
from air_jax.inference import latent_edits
from air_jax.inference.demo import server

MISNAMED = {'edit': 'move', 'which': 0, 'by': {'up': 1}}


@pytest.fixture(scope='module')
def model(finished_run):
  return air_jax.load(finished_run)


@pytest.fixture(scope='module')
def address(finished_run):
  with demo_page.served(finished_run) as address:
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


def assert_same(answer, scene):
  """The answer describes the one scene of a batch."""
  count = int(scene.counts[0])
  assert answer['count'] == count == len(answer['objects'])
  if np.isfinite(scene.ink_explained[0]):
    assert answer['ink_explained'] == pytest.approx(scene.ink_explained[0], abs=1e-4)
  else:
    assert answer['ink_explained'] is None and answer['doubt'] == '' and not answer['unexplained']
  np.testing.assert_allclose(answer['probs'], scene.count_probs[0], atol=1e-5)
  canvas = np.clip(scene.canvases[0, ..., 0], 0, 1)
  np.testing.assert_allclose(pixels(answer['canvas']) / 255, canvas, atol=0.01)
  for t, found in enumerate(answer['objects']):
    np.testing.assert_allclose(found['box'], scene.boxes[0, t] / 50, atol=0.021)  # a pixel
    assert found['score'] == pytest.approx(scene.scores[0, t], abs=1e-5)
  for name, values in scene.latents._asdict().items():
    np.testing.assert_allclose(answer['latents'][name], values[0], rtol=1e-4, atol=1e-5)


@pytest.fixture(scope='module')
def picture(model):
  """A held-out picture, twice as large, as a file."""
  image = loading.load(model.config.data, 'test').images[1, ..., 0]
  file = io.BytesIO()
  Image.fromarray(image.repeat(2, 0).repeat(2, 1)).save(file, 'png')
  return file.getvalue()


def test_an_image_is_parsed_by_the_model(model, address, picture):
  answer = ask(address, '/parse', picture)
  fitted = pictures.fit(Image.open(io.BytesIO(picture)), 50, 'crop')
  assert_same(answer, model.parse(np.asarray(fitted)[None]))
  np.testing.assert_array_equal(pixels(answer['image']), fitted)


@pytest.mark.parametrize(
  ('size', 'says'),
  [((90, 60), '90 x 60 pixels, cropped to the middle square'), ((60, 60), '')],
)
def test_a_picture_that_is_cropped_is_said_to_be(address, size, says):
  file = io.BytesIO()
  Image.new('L', size, 200).save(file, 'png')
  assert ask(address, '/parse', file.getvalue())['fitted'] == says


def test_the_scripts_of_the_page_are_served(address):
  with urllib.request.urlopen(address) as page:
    scripts = re.findall(r'<script src="([^"]+)">', page.read().decode())
  assert scripts == ['/page.js', '/controls.js']
  for script in scripts:
    with urllib.request.urlopen(address + script) as reply:
      assert reply.headers['content-type'].startswith('text/javascript') and reply.read()


def test_objects_are_edited(model, address, picture):
  answer = ask(address, '/parse', picture)
  scene = model.parse(np.asarray(pictures.fit(Image.open(io.BytesIO(picture)), 50, 'crop'))[None])
  for changes, expected in (
    ([{'edit': 'move', 'which': 0, 'by': {'right': 0.1, 'down': -0.2}}],
     lambda latents: latent_edits.move(latents, 0, down=-0.2, right=0.1)),
    ([{'edit': 'remove', 'which': 0}, {'edit': 'resize', 'which': 0, 'by': {'factor': 1.3}}],
     lambda latents: latent_edits.resize(latent_edits.remove(latents, 0), 0, 1.3)),
  ):  # fmt: skip
    body = json.dumps({'latents': answer['latents'], 'changes': changes}).encode()
    assert_same(ask(address, '/edit', body), model.edit(scene, expected))


def test_scenes_are_sampled_or_taken_from_held_out_images(model, address):
  assert_same(ask(address, '/generate', b'7'), model.generate(1, jax.random.key(7)))
  images = loading.load(model.config.data, 'test').images
  answer = ask(address, '/example', str(len(images) + 3).encode())
  assert_same(answer, model.parse(images[3:4]))
  np.testing.assert_array_equal(pixels(answer['image']), images[3, ..., 0])


def test_malformed_requests_are_refused(address, picture):
  assert refused(address, '/parse', b'no picture') == (
    400,
    'this file cannot be read as a picture; PNG, JPEG, TIFF, BMP, WEBP and GIF are read',
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
  assert refused(address, '/generate', b'one')[0] == 400
  connection = http.client.HTTPConnection(address.removeprefix('http://'))
  connection.putrequest('POST', '/parse')
  connection.putheader('Content-Length', '20000001')
  connection.endheaders()
  assert connection.getresponse().status == 413
  connection.close()


def test_the_page_shows_the_answers_of_the_server(address, picture, tmp_path):
  with demo_page.opened(address) as page:
    assert page.inner_text('#count') == ''
    about = 'trained, without labels, on scenes of 0 to 2 objects (the handwritten digits'
    assert about in page.inner_text('#about')
    demo_page.draw(page, [(0.2, 0.2), (0.4, 0.2), (0.3, 0.5)], [(0.7, 0.5), (0.7, 0.85)])
    drawn = page.evaluate("document.querySelector('#paper').toDataURL()")
    answer = ask(address, '/parse', base64.b64decode(drawn.split(',')[1]))
    objects = 'object' if answer['count'] == 1 else 'objects'
    assert page.inner_text('#count') == f'{answer["count"]} {objects}'
    assert page.get_attribute('#painted', 'src') == answer['canvas']
    assert page.locator('#objects li').count() == answer['count']
    shown = [float(p.inner_text().split()[1]) for p in page.locator('.bar').all()]
    np.testing.assert_allclose(shown, answer['probs'], atol=6e-4)
    assert 0 < page.evaluate('Number(document.body.dataset.milliseconds)') < 10_000

    # A file is shown as fitted; then everything is cleared.
    (tmp_path / 'mine.png').write_bytes(picture)
    with demo_page.answered(page):
      page.set_input_files('#file', tmp_path / 'mine.png')
    assert page.evaluate('scene.image') == ask(address, '/parse', picture)['image']
    drawn = pixels(page.evaluate("document.querySelector('#paper').toDataURL()"))
    np.testing.assert_array_equal(drawn[4::8, 4::8, 0], pixels(page.evaluate('scene.image')))
    wide = io.BytesIO()
    Image.new('L', (90, 60), 200).save(wide, 'png')
    (tmp_path / 'wide.png').write_bytes(wide.getvalue())
    with demo_page.answered(page):
      page.set_input_files('#file', tmp_path / 'wide.png')
    assert page.inner_text('#fitted') == '90 x 60 pixels, cropped to the middle square'
    page.click('#clear')
    assert page.inner_text('#count') == '' and page.evaluate('scene') is None


def test_an_unusable_address_is_named():
  with server.listen('127.0.0.1', 0) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(UserError, match=f'--port={port} cannot be used: Address already in use'):
      server.listen('127.0.0.1', port)
  with pytest.raises(UserError, match='--host=nowhere.invalid'):
    server.listen('nowhere.invalid', 0)


@pytest.mark.parametrize(
  ('module', 'missing', 'says'),
  [
    ('inference.demo.server', 'uvicorn', "the demo needs uvicorn, .* 'air_jax[demo]'"),
    ('inference.demo.server', 'starlette', "the demo needs starlette.*, .* 'air_jax[demo]'"),
    ('inference.report.page', 'jinja2', "the report needs jinja2, .* 'air_jax[report]'"),
    ('inference.report.code_figures', 'sklearn', "the report needs sklearn, .* 'air_jax[report]'"),
    ('viz.backend', 'matplotlib', "drawing figures needs matplotlib.*, .* 'air_jax[plots]'"),
  ],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, module, missing, says):
  monkeypatch.delitem(sys.modules, f'air_jax.{module}', raising=False)
  for name in [name for name in sys.modules if name.split('.')[0] == missing]:
    monkeypatch.delitem(sys.modules, name)
  monkeypatch.setitem(sys.modules, missing, None)
  with pytest.raises(UserError, match=says.replace('[', r'\[').replace(']', r'\]')):
    importlib.import_module(f'air_jax.{module}')
