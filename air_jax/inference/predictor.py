"""A trained model in use: pictures in, objects out; scenes imagined and edited; an export."""

import functools
import hashlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from PIL import Image

from air_jax.config import saved_configs
from air_jax.data import pictures
from air_jax.errors import UserError
from air_jax.evaluation import metrics
from air_jax.model import air
from air_jax.objectives import distributions
from air_jax.runtime import cache_dir
from air_jax.storage import run_dir
from air_jax.training import loop
from air_jax.types import Array, Latents

_BATCH = 256  # pictures at once, unless told otherwise


class Scene(NamedTuple):
  """What a model sees in B pictures, or imagines: NumPy arrays, 0 where no object is present."""

  counts: Array  # [B] int32
  count_probs: Array  # [B, T + 1] of each count, by the posterior that `model.count_by` names
  boxes: Array  # [B, T, 4] float32 (top, left, height, width) about the ink, pixels of the picture
  scores: Array  # [B, T] probability that there are so many objects that this is one of them
  glimpses: Array  # [B, T, h, w, C] what each looks like, in [0, 1]
  canvases: Array  # [B, H, W, C] all of them at their places, over the background
  latents: Latents  # with a leading [B]; also of what is not present


def load(workdir, member=None):
  """Loads the model of a run.

  Args:
    workdir: folder of the run.
    member: which of a population; None is the best.

  Returns:
    `Model`.

  Raises:
    UserError: there is no run, no such member, or no checkpoint that can be read.
  """
  learning, state, _ = run_dir.restore(workdir, member)
  return Model(learning, state)


def ready_made(config):
  """Loads a model that is trained on first use, and kept among the user's caches.

  Args:
    config: ConfigDict of the run.

  Returns:
    `Model`.
  """
  digest = hashlib.sha256(saved_configs.to_json(config).encode()).hexdigest()[:12]
  folder = cache_dir.home() / 'models' / digest
  try:
    model = load(folder)
  except UserError:
    model = None
  if model is None or model.step < config.train.steps:
    print('there is no run yet: a small model is trained once, for about a minute, and kept')
    loop.train(config, folder)
    model = load(folder)
  return model


class Model:
  """A trained model, whose parameters are those that evaluation uses."""

  def __init__(self, learning, state):
    """Takes a `Learner` and a `TrainState`."""
    self.config, self.step = learning.config, int(state.step)
    self._model, self._params = learning.model, state.average

  @property
  def window_size(self):
    """The side of a typical object's window as a share of the canvas: the middle of the prior."""
    where, _ = air.priors(self._model, self._params)
    return float(jax.nn.sigmoid(where.mean[0]))

  def parse(self, images, batch_size=_BATCH):
    """Explains pictures, a batch at a time.

    Args:
      images: [B, H, W, C] or [B, H, W], uint8 in 0..255 or floats in [0, 1]. Another size or number
        of channels than the model's is fitted as `data.fit` says, which is logged once.
      batch_size: most pictures at once; bounds memory beside the result.

    Returns:
      `Scene`.

    Raises:
      UserError: they are no such array.
    """
    images = _check(images)
    starts = range(0, max(len(images), 1), batch_size)
    return _join([self._parse(images[start : start + batch_size]) for start in starts])

  def parse_each(self, batches):
    """Explains any number of pictures in bounded memory.

    Args:
      batches: iterable of what `parse` takes.

    Yields:
      the `Scene` of each batch.
    """
    for batch in batches:
      yield self._parse(_check(batch))

  def generate(self, number, key):
    """Imagines scenes, their counts drawn evenly.

    Args:
      number: B.
      key: PRNG key, consumed.

    Returns:
      `Scene`.
    """
    return self.render(
      jax.device_get(_dream(self._model, self._params, jax.random.split(key, number)))
    )

  def edit(self, scene, change):
    """Changes scenes and paints them again.

    Args:
      scene: `Scene`.
      change: function of one picture's `Latents` to others, such as those of `air_jax.edits`:
        `lambda latents: edits.move(latents, 0, right=0.1)`.

    Returns:
      `Scene`, on the model's canvas.
    """
    return self.render(jax.device_get(jax.vmap(change)(scene.latents)))

  def render(self, latents):
    """Paints scenes.

    Args:
      latents: `Latents` with a leading [B].

    Returns:
      `Scene`, sure of its counts.
    """
    starts = range(0, max(len(latents.count), 1), _BATCH)
    parts = [jax.tree.map(lambda x, i=i: x[i : i + _BATCH], latents) for i in starts]
    return _join(
      [_in_batch(functools.partial(_paint, self._model, self._params), p) for p in parts]
    )

  def decode(self, codes):
    """Paints objects by themselves.

    Args:
      codes: [M, D] float32 z_what.

    Returns:
      [M, h, w, C] glimpses in [0, 1].
    """
    decode = self._model.networks.decode_glimpse
    return np.asarray(jax.vmap(decode, (None, 0))(self._params, codes))

  def export(self):
    """The parser as one file that needs JAX alone.

    `jax.export.deserialize(bytearray(data)).call(images)` takes [b, H, W, C] uint8, b >= 1, and
    returns a dict of the fields of `Scene`, with `z_where`, `z_what` and `z_background` in place of
    `latents`. It runs on CPU, CUDA and TPU.

    Returns:
      bytes.
    """

    def parse(images):
      scene = _see(self._model, self._params, images)._asdict()
      latents = scene.pop('latents')._asdict()
      latents.pop('count')
      return scene | latents

    (batch,) = jax.export.symbolic_shape('b')
    images = jax.ShapeDtypeStruct((batch, *self._shape()), jnp.uint8)
    exported = jax.export.export(jax.jit(parse), platforms=('cpu', 'cuda', 'tpu'))(images)
    return bytes(exported.serialize())

  def _shape(self):
    return self.config.data.canvas_size, self.config.data.canvas_size, self.config.model.channels

  def _parse(self, images):
    given = images.shape[1:]
    if given != self._shape():
      images = self._fitted(images)
    scene = _in_batch(functools.partial(_see, self._model, self._params), images)
    if given[:2] != self._shape()[:2]:
      size, how = self.config.data.canvas_size, self.config.data.fit
      boxes = pictures.unfit(scene.boxes, (given[1], given[0]), size, how)
      scene = scene._replace(boxes=boxes)
    return scene

  def _fitted(self, images):
    (size, _, channels), how = self._shape(), self.config.data.fit
    logging.log_first_n(
      logging.WARNING,
      'pictures of %s are fitted to %s by data.fit=%r', 1, images.shape[1:], self._shape(), how,
    )  # fmt: skip
    mode = 'RGB' if channels == 3 else 'L'
    flat = images[..., 0] if images.shape[-1] == 1 else images
    fitted = [pictures.fit(Image.fromarray(x).convert(mode), size, how) for x in flat]
    return np.reshape([np.asarray(x) for x in fitted], (len(images), *self._shape())).astype(
      np.uint8
    )


def _check(images):
  """Pictures as [B, H, W, C] uint8."""
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


def _in_batch(function, tree):
  """Applies a compiled function to a batch filled up to a power of 2: few shapes are compiled."""
  size = len(jax.tree.leaves(tree)[0])
  filled = 1 << max(size - 1, 0).bit_length()

  def fill(x):
    return np.concatenate([x, np.zeros((filled - size, *x.shape[1:]), x.dtype)])

  return jax.tree.map(lambda x: np.asarray(x)[:size], function(jax.tree.map(fill, tree)))


def _join(scenes):
  return jax.tree.map(lambda *parts: np.concatenate(parts), *scenes)


@functools.partial(jax.jit, static_argnums=0)
def _see(model, params, images):
  """The `Scene` of uint8 pictures."""

  def see(image):
    latents, rolled = air.parse(model, params, image)
    log_probs = air.count_log_posterior(model, params, image, rolled)
    canvas = rolled.canvases[latents.count]
    return _describe(latents, log_probs, rolled.glimpses, rolled.painted, canvas)

  return jax.vmap(see)(images / 255.0)


@functools.partial(jax.jit, static_argnums=0)
def _paint(model, params, latents):
  """The `Scene` of `Latents` with a leading [B]."""

  def paint(latents):
    glimpses, painted = air.draw_objects(model, params, latents)
    sure = jnp.log(jax.nn.one_hot(latents.count, model.config.max_steps + 1))
    return _describe(latents, sure, glimpses, painted, air.decode(model, params, latents))

  return jax.vmap(paint)(latents)


@functools.partial(jax.jit, static_argnums=0)
def _dream(model, params, keys):
  return jax.vmap(lambda key: air.sample_prior(model, params, key))(keys)


def _describe(latents, log_probs, glimpses, painted, canvas):
  present = jnp.arange(len(glimpses)) < latents.count
  return Scene(
    counts=latents.count,
    count_probs=jnp.exp(log_probs),
    boxes=jnp.where(present[:, None], metrics.ink_boxes(painted.max(-1)), 0.0),
    scores=jnp.where(present, distributions.presence_probs(log_probs), 0.0),
    glimpses=jnp.where(present[:, None, None, None], glimpses, 0.0),
    canvases=canvas,
    latents=latents,
  )
