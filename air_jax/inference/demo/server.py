"""The web server of the demo: it parses images, edits and generates scenes.

It keeps nothing between requests: the page holds the latents and sends them back to be edited.

    GET  /           the page
    GET  /model      what the page needs to know about the model
    POST /parse      an image file         -> a scene
    POST /edit       latents and changes   -> a scene
    POST /example    number of an image    -> the scene of a held-out image
    POST /generate   a seed                -> a scene sampled from the prior
"""

import base64
import functools
import io
import json
import pathlib
import socket
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from air_jax.data import loading, pictures
from air_jax.errors import UserError
from air_jax.inference import latent_edits
from air_jax.inference.predictor import Model, ParsedScenes
from air_jax.runtime import extras
from air_jax.types import Latents
from air_jax.viz import palette, pillow_grid

with extras.needed('demo', 'the demo'):
  import uvicorn
  from starlette.applications import Starlette
  from starlette.concurrency import run_in_threadpool
  from starlette.requests import Request
  from starlette.responses import FileResponse, JSONResponse, Response
  from starlette.routing import Route

_PAGE = pathlib.Path(__file__).parent / 'page.html'
_MOST_BYTES = 20_000_000  # of a request
# Edits that the page may ask for, by the names and arguments of `latent_edits`.
_EDITS: dict[str, Callable[..., Latents]] = {
  'move': jax.jit(latent_edits.move),
  'resize': jax.jit(latent_edits.resize),
  'remove': jax.jit(latent_edits.remove),
}


def listen(host: str, port: int) -> socket.socket:
  """Opens the server's socket, before anything slow is done.

  Args:
    host: name or address of this machine.
    port: number; 0 takes a free one.

  Raises:
    UserError: the address is in use or cannot be had.
  """
  try:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(address)
    listening.listen()  # requests that arrive before the model is ready wait
  except (OSError, OverflowError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise UserError(
      f'--host={host} --port={port} cannot be used: {reason}; --port=0 takes a free one'
    ) from error
  return listening


def serve(model: Model, listening: socket.socket) -> None:
  """Serves a model on the socket of `listen` until Ctrl-C."""
  _warm_up(model)
  host, port = listening.getsockname()[:2]
  print(f'draw at http://{host}:{port} (Ctrl-C ends it)', flush=True)
  settings = uvicorn.Config(application(model), lifespan='off', ws='none', log_level='warning')
  try:
    uvicorn.Server(settings).run([listening])
  except KeyboardInterrupt:
    return


def application(model: Model) -> Starlette:
  """The web application of a model."""

  @functools.cache
  def examples() -> np.ndarray:
    return np.asarray(loading.load(model.config.data, 'test').images)

  def parse_image(image: UInt8[np.ndarray, 'H W C']) -> dict[str, Any]:
    return _to_json(model.parse(image[None])) | {'image': _png(image / 255)}

  def parse(body: bytes) -> dict[str, Any]:
    try:
      picture = pictures.decode(io.BytesIO(body), 'RGB' if model.config.data.colour else 'L')
    except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
      raise UserError('this file cannot be read as a picture') from error
    fitted = pictures.fit(picture, model.config.data.canvas_size, model.config.data.fit)
    return parse_image(np.atleast_3d(np.asarray(fitted)))

  def edit(body: bytes) -> dict[str, Any]:
    asked = json.loads(body)
    latents = _latents(asked['latents'], model)
    for change in asked['changes']:
      which = int(change.pop('which'))
      amounts = {name: float(amount) for name, amount in change.pop('by', {}).items()}
      latents = _EDITS[change['edit']](latents, which, **amounts)
    return _to_json(model.render(jax.tree.map(lambda x: np.asarray(x)[None], latents)))

  def example(body: bytes) -> dict[str, Any]:
    images = examples()
    return parse_image(images[int(body) % len(images)])

  def generate(body: bytes) -> dict[str, Any]:
    return _to_json(model.generate(1, jax.random.key(int(body) % 2**32)))

  async def page(request: Request) -> Response:
    return FileResponse(_PAGE)

  async def describe(request: Request) -> Response:
    return JSONResponse(_description(model))

  posts = [_route(each) for each in (parse, edit, example, generate)]
  return Starlette(routes=[Route('/', page), Route('/model', describe), *posts])


def _description(model: Model) -> dict[str, Any]:
  """What the page needs to know about the model."""
  return {
    'side': model.config.data.canvas_size,
    'colour': model.config.data.colour,
    'most': model.config.model.max_steps,
    'step': model.step,
    'window': model.window_size,
    'fit': model.config.data.fit,
    'colours': palette.COLOURS,
    'patterns': palette.PATTERNS,
  }


def _route(function: Callable[[bytes], dict[str, Any]]) -> Route:
  """The POST route of a function from the body of a request to the answer."""

  async def respond(request: Request) -> Response:
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


def _warm_up(model: Model) -> None:
  """Compiles every program that requests need, so that the first answer is fast too."""
  side = model.config.data.canvas_size
  model.parse(np.zeros((1, side, side), np.uint8))
  scenes = model.generate(1, jax.random.key(0))
  latents = jax.tree.map(lambda x: x[0], scenes.latents)
  _EDITS['move'](latents, 0, right=0.0, down=0.0)
  _EDITS['resize'](latents, 0, factor=1.0)
  _EDITS['remove'](latents, 0)


def _to_json(scenes: ParsedScenes) -> dict[str, Any]:
  """The scene of a batch of one, in the form that the page reads."""
  scene = jax.tree.map(lambda x: x[0], scenes)
  count, side = int(scene.counts), len(scene.canvases)
  objects = [
    {'box': box.tolist(), 'score': float(score), 'glimpse': _png(glimpse)}
    for box, score, glimpse in zip(
      scene.boxes[:count] / side, scene.scores, scene.glimpses, strict=False
    )
  ]
  return {
    'count': count,
    'probs': scene.count_probs.tolist(),
    'objects': objects,
    'canvas': _png(scene.canvases),
    'latents': {name: x.tolist() for name, x in scene.latents._asdict().items()},
  }


def _latents(given: dict[str, Any], model: Model) -> Latents:
  """The `Latents` of one scene, from the form of `_to_json`."""
  config = model.config.model
  shapes: dict[str, tuple[int, ...]] = {
    'z_where': (config.max_steps, 3),
    'z_what': (config.max_steps, config.code_size),
    'count': (),
    'z_background': (config.background_code_size,),
  }
  arrays: dict[str, Any] = {
    name: np.asarray(given[name], np.int32 if name == 'count' else np.float32).reshape(shape)
    for name, shape in shapes.items()
  }
  return Latents(**arrays)


def _png(pixels: Float[np.ndarray, 'h w C']) -> str:
  """Pixels in [0, 1] as a data URL."""
  file = io.BytesIO()
  image = pillow_grid.to_image(pixels)
  (image.convert('L') if pixels.shape[-1] == 1 else image).save(file, 'png')
  return f'data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}'
