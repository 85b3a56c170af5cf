"""The camera, the light, and the rays through the pixels of a picture.

The table is the plane z = 0, and objects stand where x and y are in [-1, 1]: a unit is half the
width of the table. x points to the right of the picture, y away from the camera, z up.
"""

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from air_jax.errors import UserError

CAMERA = (0.0, -3.4, 2.9)  # its position
TARGET = (0.0, 0.02, 0.12)  # the point in the middle of the picture
ANGLE = math.radians(35.0)  # between the left and the right edge of the picture
AMBIENT = 0.25  # brightness of what the light does not reach; what faces it has 1
# Direction of the light, of length 1: it comes from the left, the front and above.
LIGHT = tuple(np.array((-0.4, -0.5, 0.8)) / math.sqrt(1.05))


@dataclasses.dataclass(frozen=True)
class View:
  """A picture to take: its size, and how soft edges are.

  Raises:
    UserError: a field has a value that is not allowed.
  """

  size: int = 64  # pixels >= 1, side of the picture
  # >= 0, width over which an edge goes from covered to not, in half table widths; 0 is exact. A
  # pixel of 64 is about 0.04
  softness: float = 0.02
  # >= 0. 0: gradients are derivatives. Else they are central differences of pictures of which each
  # number of a pose is this much less and more, in half table widths or radians
  difference: float = 0.0

  def __post_init__(self):
    if self.size < 1:
      raise UserError(f'size={self.size} is not allowed; it must be at least 1 pixel')
    for name in ('softness', 'difference'):
      if not 0 <= (value := getattr(self, name)) < math.inf:
        raise UserError(f'{name}={value} is not allowed; it must be a finite number, at least 0')


def stand(
  x: Float[Array, ''], y: Float[Array, ''], radius: Float[Array, '']
) -> tuple[Float[Array, '2'], Float[Array, '']]:
  """Where a solid stands, and its size, by where the picture shows its middle and how large.

  Args:
    x: of its middle in the picture, in [-1, 1] from the left edge to the right one.
    y: from the top edge to the bottom one.
    radius: > 0, how far it reaches from there to the side, in the same unit.

  Returns:
    (place, size), as `solids.cast` takes them.
  """
  forward, right, down = _axes()
  slope = math.tan(ANGLE / 2)
  ray = [
    jnp.float32(f) + slope * (x * r + y * d) for f, r, d in zip(forward, right, down, strict=True)
  ]
  # The middle is as high as the size, and that is in proportion to the distance.
  distance = CAMERA[2] / (slope * radius - ray[2])
  place = jnp.stack([CAMERA[0] + distance * ray[0], CAMERA[1] + distance * ray[1]])
  return place, slope * radius * distance


def _axes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Directions of length 1: into the picture, to its right, and down in it."""
  forward = np.subtract(TARGET, CAMERA)
  forward /= np.linalg.norm(forward)
  right = np.cross(forward, (0.0, 0.0, 1.0))
  right /= np.linalg.norm(right)
  return forward, right, np.cross(forward, right)


@functools.cache
def rays(size: int) -> Float32[np.ndarray, '3 H W']:
  """The direction of the ray through the middle of each pixel, of length 1; all point downwards."""
  offsets = math.tan(ANGLE / 2) * ((2 * np.arange(size) + 1) / size - 1)
  forward, right, down = (axis[:, None, None] for axis in _axes())
  directions = forward + right * offsets + down * offsets[:, None]
  directions /= np.linalg.norm(directions, axis=0)
  return directions.astype(np.float32)
