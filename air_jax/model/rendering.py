"""How objects become an image: each painted at its window, and all of them put together."""

from dataclasses import dataclass
from typing import Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float

from air_jax.model import spatial_transformer

Image = Float[Array, 'H W C']


class Renderer(Protocol):
  """Paints glimpses and composes them; hashable, for it is a static argument of jit."""

  @property
  def additive(self) -> bool:
    """Whether a canvas is the sum of the background and the layers."""

  def paint(
    self, glimpse: Float[Array, 'h w C'], z_where: Float[Array, ' 3'], canvas_size: int
  ) -> Image:
    """One object's layer: its glimpse at its window on an empty canvas."""

  def add(self, canvas: Image, layer: Image) -> Image:
    """The canvas with one more object."""


@dataclass(frozen=True)
class Additive:
  """Where objects overlap, their brightness adds up."""

  additive = True

  def paint(
    self, glimpse: Float[Array, 'h w C'], z_where: Float[Array, ' 3'], canvas_size: int
  ) -> Image:
    window = spatial_transformer.place(z_where)
    return spatial_transformer.paint(glimpse, window, canvas_size)

  def add(self, canvas: Image, layer: Image) -> Image:
    return canvas + layer


def compose(
  renderer: Renderer, background: Float[Array, 'H W C'], layers: Float[Array, 'T H W C']
) -> Float[Array, 'T+1 H W C']:
  """The canvas after each count 0..T of objects."""
  canvases = [background]
  for layer in layers:
    canvases.append(renderer.add(canvases[-1], layer))
  return jnp.stack(canvases)
