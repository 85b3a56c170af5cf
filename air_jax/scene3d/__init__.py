"""Pictures of solids on a table: a small differentiable renderer in JAX alone."""

from air_jax.scene3d.camera import View
from air_jax.scene3d.render import Solids, back_to_front, foot_radius, place, render, visible
from air_jax.scene3d.solids import KINDS, Layer, cast

__all__ = [
  'KINDS', 'Layer', 'Solids', 'View', 'back_to_front', 'cast', 'foot_radius', 'place', 'render',
  'visible',
]  # fmt: skip
