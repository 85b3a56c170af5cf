"""How objects become an image: each painted at its window, and all of them put together."""

import itertools
from dataclasses import dataclass
from typing import Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float

from air_jax.model import spatial_transformer


class Renderer(Protocol):
  """Paints glimpses and composes them; hashable, for it is a static argument of jit."""

  @property
  def additive(self) -> bool:
    """Whether a canvas is the sum of the background and the layers."""

  def paint(
    self, glimpse: Float[Array, 'h w C'], z_where: Float[Array, ' 3'], canvas_size: int
  ) -> Float[Array, 'H W C']:
    """One object's layer: its glimpse at its window on an empty canvas."""

  def add(
    self, canvas: Float[Array, 'H W C'], layer: Float[Array, 'H W C']
  ) -> Float[Array, 'H W C']:
    """The canvas with one more object."""


@dataclass(frozen=True)
class Additive:
  """Where objects overlap, their brightness adds up."""

  additive = True

  def paint(self, glimpse, z_where, canvas_size):
    window = spatial_transformer.place(z_where)
    return spatial_transformer.paint(glimpse, window, canvas_size)

  def add(self, canvas, layer):
    return canvas + layer


def compose(
  renderer: Renderer, background: Float[Array, 'H W C'], layers: Float[Array, 'T H W C']
) -> Float[Array, 'T+1 H W C']:
  """The canvas after each count 0..T of objects."""
  return jnp.stack(list(itertools.accumulate(layers, renderer.add, initial=background)))
