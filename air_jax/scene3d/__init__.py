"""Pictures of solids on a table: a small differentiable renderer in JAX alone."""

from air_jax.scene3d.camera import View, stand
from air_jax.scene3d.render import Solids, back_to_front, foot_radius, place, power, render, visible
from air_jax.scene3d.solids import KINDS, SIZE, SYMMETRIES, Layer, cast, cast_each

__all__ = [
  'KINDS', 'SIZE', 'SYMMETRIES', 'Layer', 'Solids', 'View', 'back_to_front', 'cast', 'cast_each',
  'foot_radius', 'place', 'power', 'render', 'stand', 'visible',
]  # fmt: skip
