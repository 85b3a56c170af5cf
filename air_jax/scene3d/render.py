"""Pictures of several solids: who hides whom, and which colour a pixel has.

Solids hide each other as opaque ones do. Their order is decided once for all pixels, by the power
|p - c|^2 - r^2 of the camera c with respect to the circle around a solid's foot, p its place and r
its radius: where two of these circles do not overlap, a plane between the solids separates them,
and the one on the camera's side has the smaller power. Where circles overlap, the order is a guess.
A change of the order is a jump that no gradient sees.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from air_jax.errors import UserError
from air_jax.scene3d import camera
from air_jax.scene3d.camera import View
from air_jax.scene3d.solids import KINDS, cast


class Solids(NamedTuple):
  """Solids on the table; a unit is half the width of the table."""

  kinds: Int[Array, ' N']  # indices into `KINDS`
  places: Float[Array, 'N 2']  # (x, y) on the table, in [-1, 1]
  rotations: Float[Array, ' N']  # about the vertical, radians anticlockwise as seen from above
  sizes: Float[Array, ' N']  # > 0, half of the height and width
  colours: Float[Array, 'N C']  # in [0, 1]; C = 1 grey, 3 RGB


def render(
  solids: Solids,
  view: View,
  background: Float[Array, '...'] | float = 0.0,
  present: Float[Array, ' N'] | None = None,
) -> Float[Array, 'H W C']:
  """Renders a picture, in [0, 1]; pure and for one scene, to be vmapped.

  Lambert's law: a point has its solid's colour times AMBIENT + (1 - AMBIENT) max(0, n l), with n
  the normal and l the direction of the light. There are no shadows.

  Args:
    solids: N of them.
    view: the picture to take.
    background: the table, [H, W, C] or what broadcasts to that.
    present: in [0, 1], opacity of each solid; None: 1.

  Returns:
    the picture, differentiable in all floats but for the order of solids.
  """
  count, channels = solids.colours.shape
  opacity = jnp.ones(count) if present is None else present
  order = back_to_front(solids)
  behind = jnp.asarray(background, solids.colours.dtype)
  behind = jnp.broadcast_to(behind, (view.size, view.size, channels))

  def paint(image, solid):
    (kind, where, rotation, size, colour), opacity = solid
    layer = cast(kind, where, rotation, size, view)
    own = jnp.einsum('hw,c->chw', layer.brightness, colour, precision='highest')
    return image + opacity * layer.coverage * (own - image), None

  sorted_ = jax.tree.map(lambda x: x[order], (solids, opacity))
  # Channels first: the pixels of a row are then neighbours in memory.
  image, _ = jax.lax.scan(paint, jnp.moveaxis(behind, -1, 0), sorted_)
  return jnp.moveaxis(image, 0, -1)


def back_to_front(solids: Solids) -> Int[Array, ' N']:
  """The order to paint in: those that hide others come last."""
  radii = foot_radius(solids.kinds, solids.sizes)
  return jnp.argsort(-jax.lax.stop_gradient(power(solids.places, radii)))


def power(places: Float[Array, '... 2'], radii: Float[Array, '...']) -> Float[Array, '...']:
  """What solids are ordered by, see above: those of smaller power hide those of larger."""
  offsets = places - jnp.float32(camera.CAMERA[:2])
  return (offsets * offsets).sum(-1) - radii * radii


def foot_radius(kinds: Int[Array, ' N'], sizes: Float[Array, ' N']) -> Float[Array, ' N']:
  """The radius of the circle around what a solid covers of the table."""
  return sizes * jnp.where(kinds == KINDS.index('cube'), jnp.sqrt(2.0), 1.0)


def visible(coverages: Float[Array, 'N H W'], order: Int[Array, ' N']) -> Float[Array, 'N H W']:
  """How much of each pixel each solid is seen in.

  Args:
    coverages: of each solid alone, 0 for those that are absent.
    order: `back_to_front`.
  """
  rank = jnp.argsort(order)

  def hide(seen, front):
    coverage, front_rank = front
    behind = (rank < front_rank)[:, None, None]
    return jnp.where(behind, seen * (1.0 - coverage), seen), None

  return jax.lax.scan(hide, coverages, (coverages, rank))[0]


def place(
  kinds: Sequence[str],
  places: ArrayLike,
  rotations: ArrayLike,
  sizes: ArrayLike,
  colours: ArrayLike,
) -> Solids:
  """Solids by name, checked.

  Args:
    kinds: N names of `KINDS`.
    places: [N, 2], as the other fields of `Solids`.
    rotations: [N].
    sizes: [N].
    colours: [N, C].

  Raises:
    UserError: a kind is unknown, an array has another shape or a value that is not allowed, or a
      solid reaches beyond the table.
  """
  if unknown := [kind for kind in kinds if kind not in KINDS]:
    raise UserError(f'{unknown[0]!r} is no kind of solid; known are {", ".join(KINDS)}')
  names, count = ('places', 'rotations', 'sizes', 'colours'), len(kinds)
  fields = [np.asarray(x, np.float32) for x in (places, rotations, sizes, colours)]
  allowed = [[[count, 2]], [[count]], [[count]], [[count, 1], [count, 3]]]
  for name, field, shapes in zip(names, fields, allowed, strict=True):
    if list(field.shape) not in shapes:
      wanted = ' or '.join(map(str, shapes))
      raise UserError(f'{name} has shape {list(field.shape)}; it must be {wanted}')
    if not np.isfinite(field).all():
      raise UserError(f'{name} holds {field[~np.isfinite(field)][0]}; it must hold finite numbers')
  solids = Solids(
    jnp.array([KINDS.index(kind) for kind in kinds], jnp.int32), *map(jnp.asarray, fields)
  )
  if (solids.sizes <= 0).any():
    raise UserError(f'sizes holds {solids.sizes.min()}; it must hold numbers > 0')
  reach = jnp.abs(solids.places).max(-1) + foot_radius(solids.kinds, solids.sizes)
  if (reach > 1.0 + 1e-6).any():
    k = int(reach.argmax())
    x, y = solids.places[k]
    raise UserError(
      f'a {kinds[k]} of size {solids.sizes[k]:g} at ({x:g}, {y:g}) does not fit on the table, '
      'which ends at -1 and 1'
    )
  if not ((solids.colours >= 0) & (solids.colours <= 1)).all():
    raise UserError('colours holds values outside [0, 1]')
  return solids
