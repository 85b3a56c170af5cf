"""The solids, and what the rays through a picture meet of one: in closed form, and differentiable.

A solid of size s stands on the table below its place and is 2 s high. Its `clearance` along a ray
is how deep the ray passes through it, positive where it is hit, 0 at its outline, in half table
widths:

* cube: a line meets a box unless an axis separates them, so the least over the pairs of axes of

      (s k_i + s k_j - |o_i d_j - o_j d_i|) / (k_i + k_j),    k = |d|

  with o the camera and d the direction of the ray, from the middle of the box and in its axes.
* sphere, cylinder: the most, over the part of the ray between the table and the height 2 s, of

      (s^2 - q(p)) / (2 s),    q(p) = x^2 + y^2, and + z^2 for a sphere

Edges between two faces are where similar expressions are 0. An edge is exact with softness 0.
Otherwise it has a width, and the outline has tails, so that a gradient reaches solids that are
near the place where they should be, but not there.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from air_jax import sums
from air_jax.scene3d import camera
from air_jax.scene3d.camera import View

KINDS = 'cube', 'sphere', 'cylinder'
SIZE = 0.26  # half of the height of a solid of scale 1, in half table widths
SYMMETRIES = 4, 0, 0  # how often each kind looks the same in a turn; 0: at all angles
_Pixels = Float[Array, 'H W']


class Layer(NamedTuple):
  """What a picture shows of one solid by itself."""

  coverage: Float[Array, 'H W']  # in [0, 1], how much of a pixel it covers
  brightness: Float[Array, 'H W']  # in [0, 1], of what it shows there, if it was white


def cast(
  kind: Int[Array, ''],
  where: Float[Array, '2'],
  rotation: Float[Array, ''],
  size: Float[Array, ''],
  view: View,
) -> Layer:
  """What a picture shows of a solid.

  Args:
    kind: index into `KINDS`.
    where: (x, y) on the table.
    rotation: about the vertical, radians anticlockwise as seen from above.
    size: > 0, half of its height and width.
    view: the picture.

  Returns:
    the layer, differentiable in place, rotation and size.
  """
  return _posed(_cast, view, kind, jnp.concatenate([where, jnp.stack([size, rotation])]))


def cast_each(
  where: Float[Array, '2'], rotation: Float[Array, ''], size: Float[Array, ''], view: View
) -> tuple[Layer, ...]:
  """As `cast`, for every kind, in the order of `KINDS`."""
  pose = jnp.concatenate([where, jnp.stack([size, rotation])])
  # Not fused with what is done with them, which takes XLA's CPU several times as long.
  return jax.lax.optimization_barrier(
    tuple(_posed(function, view, None, pose) for function in _EACH)
  )


def _cast(view: View, kind: Int[Array, ''], pose: Float[Array, '4']) -> Layer:
  middle, size, rotation = _middle(pose)
  box = _cube(view, middle, rotation, size)
  round_ = _round(view, middle, size, kind == KINDS.index('sphere'))
  clearance, light = (jnp.where(kind == 0, a, b) for a, b in zip(box, round_, strict=True))
  return _layer(clearance, light, view)


def _cast_cube(view: View, kind: None, pose: Float[Array, '4']) -> Layer:
  del kind
  middle, size, rotation = _middle(pose)
  return _layer(*_cube(view, middle, rotation, size), view)


def _cast_round(is_sphere: bool, view: View, kind: None, pose: Float[Array, '4']) -> Layer:
  del kind
  middle, size, _ = _middle(pose)
  return _layer(*_round(view, middle, size, jnp.array(is_sphere)), view)


_ROUND = functools.partial(_cast_round, True), functools.partial(_cast_round, False)
_EACH = _cast_cube, *_ROUND


def _middle(pose: Float[Array, '4']) -> tuple[tuple[Array, ...], Array, Array]:
  """The camera as seen from the middle of a solid, its size and its rotation."""
  x, y, size, rotation = pose
  middle = tuple(jnp.float32(c) - p for c, p in zip(camera.CAMERA, (x, y, size), strict=True))
  return middle, size, rotation


def _layer(clearance: _Pixels, light: _Pixels, view: View) -> Layer:
  return Layer(_outline(clearance, view.softness), camera.AMBIENT + (1.0 - camera.AMBIENT) * light)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _posed(function: Callable, view: View, kind: Array | None, pose: Float[Array, '4']) -> Layer:
  return function(view, kind, pose)


def _posed_forwards(function, view, kind, pose):
  return function(view, kind, pose), (kind, pose)


def _posed_backwards(function, view, given, cotangent):
  """Forward mode, or differences by 8 more pictures: a pose has 4 numbers, a layer thousands."""
  kind, pose = given

  def change_along(direction: Float[Array, '4'], pose: Float[Array, '4']) -> Layer:
    def seen(pose):
      return function(view, kind, pose)

    if not view.difference:
      return jax.jvp(seen, (pose,), (direction,))[1]
    step = view.difference * direction
    less, more = seen(pose - step), seen(pose + step)
    return jax.tree.map(lambda a, b: (b - a) / (2 * view.difference), less, more)

  def along(direction: Float[Array, '4'], pose: Float[Array, '4'], cotangent) -> Float[Array, '']:
    change = change_along(direction, pose)
    coverage, brightness = (a * b for a, b in zip(change, cotangent, strict=True))
    return sums.total(coverage + brightness)

  changes = [jnp.zeros((), pose.dtype)] * 4
  for k in range(3 if function in _ROUND else 4):
    # One direction after another: XLA's CPU takes ten times as long for all of them in one loop.
    pose, cotangent = jax.lax.optimization_barrier((pose, cotangent))
    changes[k] = along(jnp.eye(4, dtype=pose.dtype)[k], pose, cotangent)
  return None, jnp.stack(changes)


_posed.defvjp(_posed_forwards, _posed_backwards)


def _cube(view, middle, rotation, size) -> tuple[_Pixels, _Pixels]:
  """Clearance, and the light on its faces."""
  x, y, oz = middle
  directions = camera.rays(view.size)
  cos, sin = jnp.cos(rotation), jnp.sin(rotation)
  ox, oy = cos * x + sin * y, cos * y - sin * x
  dx = cos * directions[0] + sin * directions[1]
  dy = cos * directions[1] - sin * directions[0]
  dz = directions[2]
  kx, ky, kz = jnp.abs(dx), jnp.abs(dy), -dz
  xy, xz, yz = 1.0 / (kx + ky), 1.0 / (kx + kz), 1.0 / (ky + kz)
  moments = (ox * dy - oy * dx) * xy, (oz * dx - ox * dz) * xz, (oz * dy - oy * dz) * yz
  widest = functools.reduce(_larger, map(jnp.abs, moments))
  # How far the camera is behind the plane of each face that it may see.
  ax, ay, az = (size + jnp.where(d > 0, o, -o) for o, d in ((ox, dx), (oy, dy), (oz, dz)))
  # Of two such planes, the ray comes through the face of the one that it passes last.
  first = _crease((ay * kx - ax * ky) * xy, view.softness)
  top = _crease(-_larger((az * kx - ax * kz) * xz, (az * ky - ay * kz) * yz), view.softness)
  lx, ly, lz = camera.LIGHT
  lx, ly = cos * lx + sin * ly, cos * ly - sin * lx
  light_x, light_y = (
    jnp.where(d > 0, _larger(-light, 0.0), _larger(light, 0.0)) for d, light in ((dx, lx), (dy, ly))
  )
  side = light_y + first * (light_x - light_y)
  return size - widest, side + top * (lz - side)


def _round(view, middle, size, is_sphere) -> tuple[_Pixels, _Pixels]:
  """Clearance, and the light on its round side and on the flat top of a cylinder."""
  x, y, z = middle
  dx, dy, dz = camera.rays(view.size)
  across = dx * dx + dy * dy
  flat = jnp.where(is_sphere, 0.0, 1.0)
  z, lz = (1.0 - flat) * z, (1.0 - flat) * camera.LIGHT[2]
  # q(o + t d) = s^2 + c + 2 b t + a t^2
  a, a_inverse = jnp.where(is_sphere, 1.0, across), jnp.where(is_sphere, 1.0, 1.0 / across)
  b = x * dx + y * dy + z * dz
  c = x * x + y * y + z * z - size * size
  nearest = -b * a_inverse
  at_top, at_table = (2.0 * size - camera.CAMERA[2]) / dz, -camera.CAMERA[2] / dz

  def depth(t):
    return -0.5 / size * (c + t * (2.0 * b + a * t))

  clearance = depth(_smaller(_larger(nearest, at_top), at_table))
  # Where the ray misses, and where a root would have too steep a slope: the nearest point's light.
  least = max(0.1 * view.softness**2, 1e-12)
  entry = nearest - jnp.sqrt(_larger(b * b - a * c, least)) * a_inverse
  lx, ly, _ = camera.LIGHT
  side = (x * lx + y * ly + z * lz + entry * (dx * lx + dy * ly + dz * lz)) / size
  side = _smaller(_larger(side, 0.0), 1.0)
  top = flat * _crease(depth(at_top), view.softness)
  return clearance, side + top * (camera.LIGHT[2] - side)


def _outline(x: Float[Array, '...'], softness: float) -> Float[Array, '...']:
  """1 where x > 0, else 0; soft: 1/2 + x / 2 sqrt(x^2 + softness^2)."""
  if softness == 0:
    return jnp.where(x > 0, 1.0, 0.0)
  x = x / softness
  return 0.5 + 0.5 * x * jax.lax.rsqrt(1.0 + x * x)


def _crease(x: _Pixels, softness: float) -> _Pixels:
  """1 where x > 0, else 0; soft: a straight line between -softness / 2 and softness / 2."""
  if softness == 0:
    return jnp.where(x > 0, 1.0, 0.0)
  return _smaller(_larger(0.5 + x / softness, 0.0), 1.0)


# Half the time of `jnp.maximum` and `jnp.minimum`: their derivatives divide, for equal arguments.
def _larger(x: Array, y: Array | float) -> Array:
  return jnp.where(x > y, x, y)


def _smaller(x: Array, y: Array | float) -> Array:
  return jnp.where(x < y, x, y)
