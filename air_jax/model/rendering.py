"""How objects become an image: each painted at its window, and all of them put together.

A glimpse is painted at its window to give a layer, as large as the canvas. Layers are put together
in one of three ways, `model.compositing`, and all say what each object adds to the canvas, so that
the canvas of the first k objects is a sum over them, for every k at once:

* 'add': where objects overlap, their brightness adds up. For bright objects on black.
* 'over': objects hide what is behind them, the first is in front (Porter and Duff, "Compositing
  digital images", 1984). Glimpses and layers have one channel more, the mask m in [0, 1], and the
  others hold the colour times m.
* 'depth': as 'over', but the nearest is in front, whatever the order of the objects. Layers have
  one channel more, the distance from the camera, in any unit.
"""

from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from air_jax.model import spatial_transformer

Image = Float[Array, 'H W C']
Layer = Float[Array, 'H W A']  # A = C + `mask_channels`
Layers = Float[Array, 'T H W A']


class Compositing(Protocol):
  """Puts layers together; hashable, for it is a static argument of jit."""

  @property
  def mask_channels(self) -> int:
    """How many more channels glimpses and layers have than the image."""

  @property
  def ordered(self) -> bool:
    """Whether the same layers in another order make another image."""

  @property
  def independent(self) -> bool:
    """Whether what an object adds to the canvas does not depend on the others."""

  def additions(self, background: Image, layers: Layers) -> Float[Array, 'T H W C']:
    """What each object adds to the canvas of those before it."""

  def leave(self, left: Image, layer: Layer) -> Image:
    """What an object leaves to explain, of an image less its background."""

  def ink(self, layers: Layers) -> Float[Array, 'T H W']:
    """In [0, 1], how much of each pixel an object paints by itself, hidden or not."""

  def visible(self, layers: Layers) -> Float[Array, 'T H W']:
    """The part of `ink` that objects before it do not hide."""


@dataclass(frozen=True)
class Add:
  """Where objects overlap, their brightness adds up."""

  mask_channels = 0
  ordered = False
  independent = True

  def additions(self, background: Image, layers: Layers) -> Float[Array, 'T H W C']:
    del background
    return layers

  def leave(self, left: Image, layer: Layer) -> Image:
    return left - layer

  def ink(self, layers: Layers) -> Float[Array, 'T H W']:
    return layers.max(-1)

  def visible(self, layers: Layers) -> Float[Array, 'T H W']:
    return self.ink(layers)


@dataclass(frozen=True)
class Over:
  """Objects hide what is behind them; the first is in front.

      canvas_k = sum_{t<=k} v_t a_t + background prod_{t<=k} (1 - m_t)
               = background + sum_{t<=k} v_t (a_t - background)

  with colours a_t, masks m_t and what is visible of them, v_t = m_t prod_{u<t} (1 - m_u).
  """

  mask_channels = 1
  ordered = True
  independent = False

  def additions(self, background: Image, layers: Layers) -> Float[Array, 'T H W C']:
    additions, light = [], jnp.ones_like(background)[None]
    for layer in jax.lax.split(layers, len(layers) * (1,)):
      colours, mask = split(layer)
      additions.append(light * (colours - mask * background))
      light *= 1.0 - mask
    return jnp.concatenate(additions)

  def leave(self, left: Image, layer: Layer) -> Image:
    return left * (1.0 - split(layer)[1])

  def ink(self, layers: Layers) -> Float[Array, 'T H W']:
    return layers[..., -1]

  def visible(self, layers: Layers) -> Float[Array, 'T H W']:
    return self.ink(layers) * _seen_through(self.ink(layers))


@dataclass(frozen=True)
class Depth:
  """Near objects hide those behind them.

  The canvas of the first k objects is that of `Over`, with in front of t those nearer than t:

      canvas_k = background + sum_{t<=k} v_tk (a_t - background)
      v_tk = m_t prod_{u<=k, d_u<d_t} (1 - m_u)

  What an object adds to the canvas of those before it includes what it hides of them.
  """

  mask_channels = 2
  ordered = False
  independent = False

  def additions(self, background: Image, layers: Layers) -> Float[Array, 'T H W C']:
    channels = background.shape[-1]
    own: list[Array] = []
    through: list[Array] = []
    depths: list[Array] = []
    for layer in jax.lax.split(layers, len(layers) * (1,)):
      colours, mask, depth = jax.lax.split(layer[0], (channels, 1, 1), axis=-1)
      mask = copies(mask, channels)
      own.append(colours - mask * background)
      through.append(1.0 - mask)
      depths.append(depth)
    added: list[Array] = []
    light: list[Array] = []  # the share that reaches each, of those so far
    for k in range(len(layers)):
      reaches, change = jnp.ones_like(background), jnp.zeros_like(background)
      for t in range(k):
        hides = depths[k] < depths[t]
        dimmed = jnp.where(hides, light[t] * through[k], light[t])
        change += (dimmed - light[t]) * own[t]
        reaches *= jnp.where(hides, 1.0, through[t])
        light[t] = dimmed
      added.append(reaches * own[k] + change)
      light.append(reaches)
    return jnp.stack(added)

  def leave(self, left: Image, layer: Layer) -> Image:
    return left * (1.0 - layer[..., -2:-1])

  def ink(self, layers: Layers) -> Float[Array, 'T H W']:
    return layers[..., -2]

  def visible(self, layers: Layers) -> Float[Array, 'T H W']:
    masks, depths = layers[..., -2], layers[..., -1]
    first = jnp.arange(len(layers))
    earlier = (first < first[:, None])[..., None, None]
    nearer = (depths < depths[:, None]) | ((depths == depths[:, None]) & earlier)
    return masks * jnp.where(nearer, 1.0 - masks, 1.0).prod(1)


COMPOSITINGS: dict[str, Compositing] = {'add': Add(), 'over': Over(), 'depth': Depth()}


def split(
  layer: Float[Array, '*batch H W A'],
) -> tuple[Float[Array, '*batch H W C'], Float[Array, '*batch H W C']]:
  """A layer or glimpse as its colours and its mask, with a copy of that for each channel."""
  channels = layer.shape[-1] - 1
  colours, mask = jax.lax.split(layer, (channels, 1), axis=-1)
  return colours, copies(mask, channels)


def copies(mask: Float[Array, '*batch 1'], channels: int) -> Float[Array, '*batch C']:
  """A mask for each channel.

  Broadcasting gives the same, but its gradient is a sum that XLA's CPU takes ten times as long for,
  two thirds of a training step in colour.
  """
  return jnp.concatenate(channels * [mask], -1)


def paint(
  glimpse: Float[Array, 'h w A'], z_where: Float[Array, ' 3'], canvas_size: int
) -> Float[Array, 'H W A']:
  """An object's layer: its glimpse at its window on an empty canvas."""
  return spatial_transformer.paint(glimpse, spatial_transformer.place(z_where), canvas_size)


def compose(
  compositing: Compositing, background: Image, layers: Layers
) -> Float[Array, 'T+1 H W C']:
  """The canvas after each count 0..T of objects."""
  return accumulate(background, compositing.additions(background, layers))


def accumulate(background: Image, additions: Float[Array, 'T H W C']) -> Float[Array, 'T+1 H W C']:
  """The canvas after each count 0..T of objects, by what each adds."""
  canvases = [background[None]]
  for addition in jax.lax.split(additions, len(additions) * (1,)):
    canvases.append(canvases[-1] + addition)
  return jnp.concatenate(canvases)


def _seen_through(masks: Float[Array, 'T ...']) -> Float[Array, 'T ...']:
  """The share of light that the masks before each let through."""
  shares = [jnp.ones_like(masks[0])]
  for mask in masks[:-1]:
    shares.append(shares[-1] * (1.0 - mask))
  return jnp.stack(shares)
