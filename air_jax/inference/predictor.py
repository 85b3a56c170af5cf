"""A trained model in use: parse images, generate and edit scenes, export the parser."""

import functools
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jaxtyping import Array, Float, PRNGKeyArray, Shaped, UInt8
from PIL import Image

from air_jax.config import schema
from air_jax.config.sections import Config
from air_jax.configs import default
from air_jax.data import pictures, preparation
from air_jax.errors import UserError
from air_jax.evaluation import familiarity, residuals
from air_jax.inference import parsed_scenes, without_ink
from air_jax.inference.batching import in_batches, join, split
from air_jax.inference.parsed_scenes import ParsedScenes
from air_jax.model import air
from air_jax.runtime import jit
from air_jax.storage import run_dir
from air_jax.storage.checkpoints import Checkpoints
from air_jax.types import Latents, Rollout

_BATCH = 256  # images at once, unless asked otherwise


class Model:
  """A trained model: a configuration, networks and the parameters that evaluation uses."""

  def __init__(
    self,
    config: Config,
    model: air.Model,
    params: Any,
    step: int,
    reference: familiarity.Reference | None = None,
  ):
    """Holds a model.

    Args:
      config: of the run.
      model: the architecture.
      params: its parameters; of a training state, `average`.
      step: training steps behind them.
      reference: what held-out images are like; None where it was not measured.
    """
    self.config, self.model, self.step, self.reference = config, model, step, reference
    self._params = params

  def __repr__(self) -> str:
    side, _, channels = self._shape()
    model = self.config.model
    number = sum(leaf.size for leaf in jax.tree.leaves(self._params))
    return (
      f'<air_jax Model: canvas {side}x{side}x{channels}, at most {model.max_steps} objects, '
      f'code size {model.code_size}, {model.likelihood} likelihood (std {self.noise:.3g}), '
      f'{number:,} parameters, training step {self.step:,}>'
    )

  @property
  def params(self) -> Any:
    """The parameters, a tree of arrays by the name of each network."""
    return self._params

  @property
  def window_size(self) -> float:
    """Side of a typical window as a fraction of the canvas: the middle of the prior on sizes."""
    return float(air.window_size(self.model, self._params))

  @property
  def noise(self) -> float:
    """Deviation of a pixel by the likelihood, `model.likelihood_std`, as learned."""
    return float(air.numbers(self.model, self._params).likelihood_std)

  def parse(self, images: np.ndarray, batch_size: int = _BATCH) -> ParsedScenes:
    """Explains images by the most probable latents, batch by batch.

    `elbo` sums out the count and takes the other latents at their posterior means. This is
    deterministic, and a few nats above the expectation that evaluation estimates from a sample,
    whose own noise is larger.

    Args:
      images: [B, H, W, C] or [B, H, W], uint8 in 0..255 or floats in [0, 1]. Images of another size
        or number of channels than the model's are fitted by `data.fit`, which is logged once. They
        are taken as they are meant to be seen: `prepare` applies the levels of the run's files.
      batch_size: most images at once; bounds memory apart from the result.

    Raises:
      UserError: `images` is no such array.
    """
    images = _check(images)
    return join([self._parse(part) for part in split(images, batch_size)])

  def with_reference(
    self, images: UInt8[np.ndarray, 'B H W C'], most: int = familiarity.MOST
  ) -> 'Model':
    """The same model, which compares what it parses with B >= 1 held-out images, `most` of more."""
    images = images[:: -(-len(images) // most)]
    scenes = Model(self.config, self.model, self.params, self.step).parse(images)
    reference = parsed_scenes.measure(self.step, self._fitted(_check(images)), scenes)
    return Model(self.config, self.model, self.params, self.step, reference)

  def prepare(self, picture: Shaped[np.ndarray, 'H W C']) -> UInt8[np.ndarray, 'S S c']:
    """Brings a picture in a file's own values to the canvas, by `data.channel`, levels and fit."""
    return preparation.prepare(np.atleast_3d(picture), self.config.data).canvas

  def parse_each(self, batches: Iterable[np.ndarray]) -> Iterator[ParsedScenes]:
    """Explains any number of images in bounded memory: parses each of the batches in turn."""
    for batch in batches:
      yield self._parse(_check(batch))

  def explain(self, images: np.ndarray) -> tuple[Latents, Rollout]:
    """Explains images with every intermediate result, for figures.

    Args:
      images: as `parse` takes them; keep them few, as each result holds T + 1 canvases.

    Returns:
      (`Latents`, `Rollout` at the posterior means), NumPy arrays with a leading [B].

    Raises:
      UserError: `images` is no such array.
    """
    images = self._fitted(_check(images))
    return in_batches(functools.partial(_explain, self.model, self._params), images, _BATCH)

  def generate(self, number: int, key: PRNGKeyArray) -> ParsedScenes:
    """Samples `number` scenes from the prior, every count equally likely. The key is consumed."""
    keys = jax.random.split(key, number)
    return self.render(jax.device_get(_sample(self.model, self._params, keys)))

  def edit(self, scenes: ParsedScenes, change: Callable[[Latents], Latents]) -> ParsedScenes:
    """Changes scenes and renders them again, on the model's canvas.

    Args:
      scenes: B scenes.
      change: function of the `Latents` of one scene, for example one of `latent_edits`:
        `lambda latents: latent_edits.move(latents, 0, right=0.1)`.
    """
    return self.render(jax.device_get(jax.vmap(change)(scenes.latents)))

  def render(self, latents: Latents) -> ParsedScenes:
    """Renders scenes from `Latents` with a leading [B]."""
    return in_batches(functools.partial(_render, self.model, self._params), latents, _BATCH)

  def decode(self, codes: Float[np.ndarray, 'M D']) -> Float[np.ndarray, 'M h w C']:
    """Decodes codes (z_what) into glimpses in [0, 1], each object by itself on black."""
    return np.asarray(_decode(self.model, self._params, codes))

  def export(self) -> bytes:
    """The parser as one file that needs JAX alone.

    `jax.export.deserialize(bytearray(data)).call(images)` takes [b, H, W, C] uint8, b >= 1, and
    returns a dict of the fields of `ParsedScenes`, those of `latents` (less `count`) and `poses` in
    place of these, without those that need held-out images. It runs on CPU, CUDA and TPU.
    """

    def parse(images: Array) -> dict[str, Array]:
      scenes = _parse(self.model, self._params, images)._asdict()
      for parts in (scenes.pop('latents'), scenes.pop('poses')):
        scenes |= parts._asdict() if parts else {}
      for name in (*parsed_scenes.COMPARED, 'count'):
        scenes.pop(name)
      return scenes

    (batch,) = jax.export.symbolic_shape('b')
    images = jax.ShapeDtypeStruct((batch, *self._shape()), jnp.uint8)
    exported = jax.export.export(jax.jit(parse), platforms=('cpu', 'cuda', 'tpu'))(images)
    return bytes(exported.serialize())

  def save(self, folder: str | os.PathLike) -> None:
    """Saves the model, without what only training needs, for `air_jax.load`.

    Raises:
      UserError: the folder holds a run already or cannot be written to, or the model was loaded
        with changes.
    """
    path = pathlib.Path(os.path.expanduser(folder))
    if run_dir.exists(path) or (path / 'checkpoints').exists():
      raise UserError(f'{path} holds a run already; save the model to another folder')
    flat = schema.to_flat(self.config)
    flat['model.background_code_size'] = flat['model.background_code_size'] or 1  # where unused
    config = default.get_config()
    config.update_from_flattened_dict(flat)
    if schema.parse(config).model != self.config.model:
      raise UserError('a model that was loaded with changes cannot be saved; save it without them')
    state = {'step': jnp.int32(self.step), 'average': self._params}
    try:
      path.mkdir(parents=True, exist_ok=True)
      run_dir.create_or_resume(path, config)
    except OSError as error:
      raise UserError(f'{path} cannot be written to: {error.strerror or error}') from error
    with Checkpoints(path / 'checkpoints', 1) as checkpoints:
      checkpoints.save(self.step, jax.tree.map(lambda x: jnp.asarray(x)[None], state))
    if self.reference is not None:
      run_dir.write_reference(path, familiarity.to_json(self.reference))

  def _shape(self) -> tuple[int, int, int]:
    return self.config.data.canvas_size, self.config.data.canvas_size, self.config.model.channels

  def _parse(self, images: np.ndarray) -> ParsedScenes:
    height, width = images.shape[1:3]
    fitted = self._fitted(images)
    parse = functools.partial(_parse_quickly, self.model, self._params)
    scenes = in_batches(parse, fitted, len(fitted))
    if self.reference is not None:
      scenes = parsed_scenes.compare(scenes, fitted, self.reference)
    if (height, width) != self._shape()[:2]:
      size, how = self.config.data.canvas_size, self.config.data.fit
      scenes = scenes._replace(boxes=pictures.unfit(scenes.boxes, (width, height), size, how))
    return scenes

  def _fitted(self, images: np.ndarray) -> np.ndarray:
    """Images brought to the model's canvas and channels, where they differ."""
    if images.shape[1:] == self._shape():
      return images
    (size, _, channels), how = self._shape(), self.config.data.fit
    text = 'images of %s are fitted to %s by data.fit=%r'
    logging.log_first_n(logging.WARNING, text, 1, images.shape[1:], self._shape(), how)
    flat = images[..., 0] if images.shape[-1] == 1 else images
    fitted = [pictures.on_canvas(Image.fromarray(x), size, channels == 3, how) for x in flat]
    return np.reshape(fitted, (len(images), *self._shape())).astype(np.uint8)


def _check(images: np.ndarray) -> np.ndarray:
  """Images as [B, H, W, C] uint8."""
  images = np.asarray(images)
  if images.ndim == 3:
    images = images[..., None]
  if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
    raise UserError(
      f'images of shape {images.shape} cannot be parsed; they must be [B, H, W] or [B, H, W, C] '
      'with C of 1 or 3'
    )
  if images.dtype == np.uint8:
    return images
  if images.dtype.kind != 'f' or not ((images >= 0) & (images <= 1)).all():
    raise UserError(
      f'images of {images.dtype} cannot be parsed; they must be uint8, or floats within [0, 1]'
    )
  return np.round(255 * images).astype(np.uint8)


@jit.quick
def _explain(model: air.Model, params: Any, images: Array) -> tuple[Latents, Rollout]:
  return jax.vmap(lambda image: without_ink.explain(model, params, image)[:2])(images / 255.0)


def _parse(model: air.Model, params: Any, images: Array) -> ParsedScenes:
  """Parses uint8 images."""

  def parse(image: Array) -> ParsedScenes:
    latents, rolled, log_probs, elbo = without_ink.explain(model, params, image)
    scene = parsed_scenes.describe(
      model, latents, log_probs, rolled.glimpses, rolled.painted, rolled.canvases
    )
    noise = air.numbers(model, params).likelihood_std
    known: dict[str, Any] = {
      'z_where_std': rolled.where.std,
      'z_what_std': rolled.what.std,
      'elbo': elbo,
      'ink_explained': residuals.ink_explained(image, scene.backgrounds, scene.canvases, noise),
    }
    return scene._replace(**known)

  return jax.vmap(parse)(images / 255.0)


_parse_quickly = jit.quick(_parse)


@jax.jit
def _render(model: air.Model, params: Any, latents: Latents) -> ParsedScenes:
  """Renders `Latents` with a leading [B]."""

  def render(latents: Latents) -> ParsedScenes:
    glimpses, painted = air.render_objects(model, params, latents)
    certain = jnp.log(jax.nn.one_hot(latents.count, model.spec.max_steps + 1))
    canvases = air.compose(model, params, latents, painted)
    return parsed_scenes.describe(model, latents, certain, glimpses, painted, canvases)

  return jax.vmap(render)(latents)


@jax.jit
def _sample(model: air.Model, params: Any, keys: PRNGKeyArray) -> Latents:
  return jax.vmap(lambda key: air.sample_prior(model, params, key))(keys)


@jax.jit
def _decode(model: air.Model, params: Any, codes: Array) -> Array:
  glimpses = jax.vmap(model.networks.decode_glimpse, (None, 0))(params, codes)
  return glimpses[..., : model.spec.channels]
