"""The web server of the demo: it parses images, edits and generates scenes.

It keeps nothing between requests: the page holds the latents and sends them back to be edited.
Requests may come from anywhere and hold anything: each is answered within bounds of memory and
time, or refused by one sentence, {"error": "..."}.

    GET  /           the page, and its scripts /page.js and /controls.js
    GET  /model      what the page needs to know about the model
    POST /parse      an image file         -> a scene; /parse?drawn: as it is, without data.levels
    POST /edit       latents and changes   -> a scene
    POST /example    number of an image    -> the scene of a held-out image
    POST /generate   a seed                -> a scene sampled from the prior
"""

import contextlib
import functools
import io
import pathlib
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import IO, Any

import jax
import numpy as np
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin

from air_jax.config.sections import DataConfig
from air_jax.data import loading, pictures, preparation, sources
from air_jax.errors import UserError
from air_jax.inference.predictor import Model
from air_jax.runtime import extras, memory
from air_jax.viz import palette

with extras.needed('demo', 'the demo'):
  import uvicorn
  from starlette.applications import Starlette
  from starlette.middleware import Middleware
  from starlette.requests import ClientDisconnect, Request
  from starlette.responses import FileResponse, JSONResponse, Response
  from starlette.routing import Route

  from air_jax.inference.demo import access, answers, connections, edits, limits

_FOLDER = pathlib.Path(__file__).parent
_FILES = {'/': 'page.html', '/page.js': 'page.js', '/controls.js': 'controls.js'}
_FITTED = {
  'crop': 'cropped to the middle square',
  'pad': 'padded to a square',
  'squash': 'squashed to a square',
}  # by data.fit
_MOST_BYTES = 20_000_000  # of a picture file
_MOST_JSON = 1_000_000  # bytes of any other request
# Photographs are decoded at a smaller size; TIFF and WEBP are held several times.
_MOST_PIXELS = {'JPEG': 25_000_000, 'MPO': 25_000_000, 'TIFF': 8_000_000, 'WEBP': 8_000_000}
_MOST_PIXELS_ELSE = 16_000_000
_SMALL_PICTURE = 1_000_000  # pixels; larger ones are decoded one at a time
_MOST_PNG_TEXT = 1 << 22  # bytes of texts in a PNG, which Pillow decompresses
_WHOLE_NUMBER = re.compile(rb'\s*-?\d{1,20}\s*', re.ASCII)
_Answer = Callable[[Request, IO[bytes]], Awaitable[dict[str, Any]]]


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
    with contextlib.ExitStack() as on_error:
      listening = on_error.enter_context(socket.socket(family, kind, protocol))
      listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      listening.bind(address)
      listening.listen()  # requests that arrive before the model is ready wait
      on_error.pop_all()
  except (OSError, OverflowError, ValueError) as error:  # ValueError: the name has no encoding
    reason = getattr(error, 'strerror', None) or error
    raise UserError(
      f'--host={host} --port={port} cannot be used: {reason}; --port=0 takes a free one'
    ) from error
  return listening


def serve(model: Model, listening: socket.socket, host: str) -> None:
  """Serves a model on the socket of `listen` until Ctrl-C.

  Args:
    model: the model.
    listening: the socket.
    host: as given to `listen`.
  """
  _warm_up(model)
  memory.give_back()
  connections.allow_many()
  PngImagePlugin.MAX_TEXT_MEMORY = _MOST_PNG_TEXT
  address, port = listening.getsockname()[:2]
  where = f'[{address}]' if ':' in address else address
  print(f'draw at http://{where}:{port} (Ctrl-C ends it)', flush=True)
  if not access.is_loopback(address):
    print(
      'every machine that reaches this address can draw, and see the held-out pictures of the run '
      '(/example)', flush=True,
    )  # fmt: skip
  try:
    web_server(application(model, host, address)).run([listening])
  except KeyboardInterrupt:
    return


def web_server(served: Starlette) -> uvicorn.Server:
  """The server of an application."""
  return uvicorn.Server(
    uvicorn.Config(
      served,
      http=connections.Connection,
      lifespan='off',
      ws='none',
      log_level='error',  # a warning for each malformed request would fill the terminal
    )
  )


def application(model: Model, host: str, address: str) -> Starlette:
  """The web application of a model, served at the address of a host."""
  work = limits.Turns(at_once=2, waiting=200)
  decoding = limits.Turns(at_once=1, waiting=8)

  # What is drawn is what the model sees.
  drawn = preparation.as_it_is(model.config.data)

  @functools.cache
  def examples() -> np.ndarray:
    return np.asarray(loading.load(model.config.data, 'test').images)

  def parse_image(image: UInt8[np.ndarray, 'H W C']) -> dict[str, Any]:
    return answers.to_json(model.parse(image[None])) | {'image': answers.png(image / 255)}

  async def parse(request: Request, body: IO[bytes]) -> dict[str, Any]:
    large = body.seek(0, io.SEEK_END) > limits.SMALL
    file = await (decoding if large else work).run(request, _open, body)
    large = large or pictures.decoded_pixels(file) > _SMALL_PICTURE
    data = drawn if 'drawn' in request.query_params else model.config.data
    fitted = _fitted(file.size, data.fit)
    image = await (decoding if large else work).run(request, _decode, file, data)
    return await work.run(request, parse_image, image) | {'fitted': fitted}

  async def edit(request: Request, body: IO[bytes]) -> dict[str, Any]:
    def render() -> dict[str, Any]:
      latents = edits.apply(body.read(), model.config.model)
      return answers.to_json(model.render(jax.tree.map(lambda x: np.asarray(x)[None], latents)))

    return await work.run(request, render)

  async def example(request: Request, body: IO[bytes]) -> dict[str, Any]:
    number = _whole_number(body)
    return await work.run(request, lambda: parse_image(examples()[number % len(examples())]))

  async def generate(request: Request, body: IO[bytes]) -> dict[str, Any]:
    key = _whole_number(body) % 2**32
    return await work.run(request, lambda: answers.to_json(model.generate(1, jax.random.key(key))))

  async def page(request: Request) -> Response:
    return FileResponse(_FOLDER / _FILES[request.url.path])

  async def describe(request: Request) -> Response:
    return JSONResponse(_description(model))

  uploads = limits.Uploads(at_once=2)
  posts = [
    _route(each, uploads, _MOST_BYTES if each is parse else _MOST_JSON)
    for each in (parse, edit, example, generate)
  ]
  return Starlette(
    routes=[*(Route(path, page) for path in _FILES), Route('/model', describe), *posts],
    middleware=[Middleware(access.OwnPagesOnly, host=host, address=address)],
  )


def _description(model: Model) -> dict[str, Any]:
  """What the page needs to know about the model."""
  return {
    'side': model.config.data.canvas_size,
    'colour': model.config.data.colour,
    'most': model.config.model.max_steps,
    'step': model.step,
    'trained_on': sources.about(model.config.data),
    'window': model.window_size,
    'colours': palette.COLOURS,
    'patterns': palette.PATTERNS,
  }


def _route(answer: _Answer, uploads: limits.Uploads, most_bytes: int) -> Route:
  """The POST route of a function from the body of a request to the answer."""

  async def respond(request: Request) -> Response:
    try:
      async with contextlib.AsyncExitStack() as held:
        body = await uploads.receive(request, most_bytes, held)
        return JSONResponse(await answer(request, body))
    except ClientDisconnect:
      return Response(status_code=400)  # nobody receives it
    except limits.Refusal as error:
      # The rest of the body is not read.
      return JSONResponse({'error': str(error)}, error.status, {'connection': 'close'})
    except UserError as error:
      return JSONResponse({'error': limits.clipped(str(error))}, 400)

  return Route(f'/{answer.__name__}', respond, methods=['POST'])


def _whole_number(body: IO[bytes]) -> int:
  given = body.read()
  if not _WHOLE_NUMBER.fullmatch(given):
    raise UserError('not understood: the body must be a whole number of at most 20 digits')
  return int(given)


def _open(body: IO[bytes]) -> Image.Image:
  """The picture in a body, not decoded yet, and not too large for that."""
  with _refused_if_unreadable():
    file = pictures.open_header(body)
    pixels = pictures.decoded_pixels(file)
    most = _MOST_PIXELS.get(file.format or '', _MOST_PIXELS_ELSE)
    if file.mode == 'CMYK':  # libjpeg may hold 8 bytes of each pixel
      most = min(most, _MOST_PIXELS_ELSE)
  if pixels > most:
    raise UserError(
      f'this picture has {pixels / 1e6:.0f} megapixels; the demo reads up to {most / 1e6:.0f} of '
      f'{file.format}'
    )
  return file


def _decode(file: Image.Image, data: DataConfig) -> UInt8[np.ndarray, 'H W C']:
  """The picture of `_open`, on the canvas."""
  # `close` lets go of the pixels too.
  with _refused_if_unreadable(), contextlib.closing(file):
    values = pictures.values(pictures.reduce(file, _SMALL_PICTURE))
  return preparation.prepare(values, data).canvas


def _fitted(size: tuple[int, int], fit: str) -> str:
  """How a picture became square, in words; '' where it was."""
  width, height = size
  return '' if width == height else f'{width} x {height} pixels, {_FITTED[fit]}'


@contextlib.contextmanager
def _refused_if_unreadable() -> Iterator[None]:
  try:
    yield
  except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
    raise UserError(
      f'this file cannot be read as a picture; {pictures.formats()} are read'
    ) from error


def _warm_up(model: Model) -> None:
  """Compiles every program that requests need, so that the first answer is fast too."""
  side = model.config.data.canvas_size
  model.parse(np.zeros((1, side, side), np.uint8))
  scenes = model.generate(1, jax.random.key(0))
  edits.warm_up(jax.tree.map(lambda x: x[0], scenes.latents))
