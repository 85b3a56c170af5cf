"""What answers the demo's page: pictures explained, scenes changed and imagined.

It keeps nothing between requests: the page holds the latents, and sends them back to be changed.

    GET  /          the page
    GET  /model     what the page must know of the model
    POST /parse     a picture file         -> a scene
    POST /edit      latents and changes    -> a scene
    POST /example   the number of a scene  -> the scene of a held-out picture
    POST /imagine   a seed                 -> a scene drawn from the prior
"""

import base64
import functools
import io
import json
import pathlib
import socket

import jax
import numpy as np
import uvicorn
from matplotlib import colors
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

from air_jax.data import loading, pictures
from air_jax.errors import UserError
from air_jax.inference import latent_edits
from air_jax.types import Latents
from air_jax.viz import plots

_PAGE = pathlib.Path(__file__).parent / 'page.html'
_MOST_BYTES = 20_000_000  # of a request
# What the page may ask for, by the names and the arguments that `edits` gives them.
_EDITS = {
  each.__name__: jax.jit(each)
  for each in (latent_edits.move, latent_edits.resize, latent_edits.remove)
}


def listen(host, port):
  """Takes a port before anything slow is done.

  Args:
    host: name or address of this machine.
    port: number; 0 takes one that is free.

  Returns:
    socket.

  Raises:
    UserError: it is in use, or not to be had.
  """
  try:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(address)
    listening.listen()  # whoever comes before the model is ready waits
  except (OSError, OverflowError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise UserError(
      f'--host={host} --port={port} cannot be used: {reason}; --port=0 takes one that is free'
    ) from error
  return listening


def serve(model, listening):
  """Answers until Ctrl-C.

  Args:
    model: `trained.Model`.
    listening: socket of `listen`.
  """
  _warm_up(model)
  host, port = listening.getsockname()[:2]
  print(f'draw at http://{host}:{port} (Ctrl-C ends it)', flush=True)
  settings = uvicorn.Config(application(model), lifespan='off', ws='none', log_level='warning')
  try:
    uvicorn.Server(settings).run([listening])
  except KeyboardInterrupt:
    return


def application(model):
  """The web application of a model.

  Args:
    model: `trained.Model`.

  Returns:
    Starlette application.
  """

  @functools.cache
  def examples():
    return loading.load(model.config.data, 'test').images

  def about():
    return {
      'side': model.config.data.canvas_size,
      'colour': model.config.data.colour,
      'most': model.config.model.max_steps,
      'step': model.step,
      'window': model.window_size,
      'fit': model.config.data.fit,
      'colours': [colors.to_hex(colour) for colour in plots.COLOURS],
    }

  def parse(body):
    try:
      picture = pictures.decode(io.BytesIO(body), 'RGB' if model.config.data.colour else 'L')
    except Exception as error:  # spoilt files make Pillow's decoders raise nearly anything
      raise UserError('this file cannot be read as a picture') from error
    fitted = pictures.fit(picture, model.config.data.canvas_size, model.config.data.fit)
    return seen(np.asarray(fitted))

  def seen(image):
    return _told(model.parse(image[None])) | {'image': _png(image / 255)}

  def edit(body):
    asked = json.loads(body)
    latents = _latents(asked['latents'], model)
    for change in asked['changes']:
      which = int(change.pop('which'))
      amounts = {name: float(amount) for name, amount in change.pop('by', {}).items()}
      latents = _EDITS[change['edit']](latents, which, **amounts)
    return _told(model.render(_batch_of_one(latents)))

  def example(body):
    images = examples()
    return seen(images[int(body) % len(images)])

  def imagine(body):
    return _told(model.generate(1, jax.random.key(int(body) % 2**32)))

  async def page(request):
    return FileResponse(_PAGE)

  async def describe(request):
    return JSONResponse(about())

  posts = [_answer(each) for each in (parse, edit, example, imagine)]
  return Starlette(routes=[Route('/', page), Route('/model', describe), *posts])


def _answer(function):
  """The route of a function from the body of a request to what is told."""

  async def respond(request):
    if int(request.headers.get('content-length', _MOST_BYTES + 1)) > _MOST_BYTES:
      return JSONResponse({'error': 'more than 20 MB'}, 413)
    body = await request.body()
    try:
      return JSONResponse(await run_in_threadpool(function, body))
    except UserError as error:
      return JSONResponse({'error': str(error)}, 400)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      return JSONResponse({'error': f'not understood: {error}'}, 400)

  return Route(f'/{function.__name__}', respond, methods=['POST'])


def _warm_up(model):
  """Compiles what will be asked for, so that the first answer is as quick as the others."""
  side = model.config.data.canvas_size
  model.parse(np.zeros((1, side, side), np.uint8))
  scene = model.generate(1, jax.random.key(0))
  latents = jax.tree.map(lambda x: x[0], scene.latents)
  _EDITS['move'](latents, 0, right=0.0, down=0.0)
  _EDITS['resize'](latents, 0, factor=1.0)
  _EDITS['remove'](latents, 0)


def _told(scene):
  """A scene of one picture, as the page reads it."""
  scene = jax.tree.map(lambda x: x[0], scene)
  count, side = int(scene.counts), len(scene.canvases)
  shown = [
    {'box': box.tolist(), 'score': float(score), 'glimpse': _png(glimpse)}
    for box, score, glimpse in zip(
      scene.boxes[:count] / side, scene.scores, scene.glimpses, strict=False
    )
  ]
  return {
    'count': count,
    'probs': scene.count_probs.tolist(),
    'objects': shown,
    'canvas': _png(scene.canvases),
    'latents': {name: x.tolist() for name, x in scene.latents._asdict().items()},
  }


def _latents(given, model):
  """The `Latents` that `_told` told of."""
  config = model.config.model
  shapes = Latents(
    (config.max_steps, 3), (config.max_steps, config.code_size), (), (config.background_code_size,)
  )
  kinds = Latents(np.float32, np.float32, np.int32, np.float32)
  return Latents(
    **{
      name: np.asarray(given[name], kind).reshape(shape)
      for name, kind, shape in zip(Latents._fields, kinds, shapes, strict=True)
    }
  )


def _batch_of_one(latents):
  return jax.tree.map(lambda x: np.asarray(x)[None], latents)


def _png(pixels):
  """Pixels [h, w, C] or [h, w] in [0, 1], as a URL that holds them."""
  pixels = np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
  file = io.BytesIO()
  Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, 'png')
  return f'data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}'
