"""Speed of the renderer of `air_jax.scene3d`, and of its gradient.

    python -m benchmarks.renderer [--objects=3] [--size=64] [--pictures=512]

Prints pictures a second on all devices that JAX sees, and the ratio of picture and gradient, with
respect to places, rotations, sizes and colours, to the picture alone. Batches of a few pictures,
with arrays that stay in the cache of a CPU, alternate with all pictures at once, so that both see
the same other load on a shared machine. Medians are reported, after a warm-up.
"""

import functools
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from air_jax import scene3d
from air_jax.cli import command_line

_OBJECTS = flags.DEFINE_integer('objects', 3, 'Solids in a picture.', lower_bound=1)
_SIZE = flags.DEFINE_integer('size', 64, 'Side of a picture, pixels.', lower_bound=1)
_PICTURES = flags.DEFINE_integer('pictures', 512, 'Pictures in a round.', lower_bound=1)
_FEW = flags.DEFINE_integer('few', 4, 'Pictures at once, where these are few.', lower_bound=1)
_ROUNDS = flags.DEFINE_integer('rounds', 11, 'Timed rounds.', lower_bound=1)


@command_line.one_line_errors
def main(argv: list[str]) -> None:
  """Measures and prints."""
  del argv
  solids, weights = _inputs(_PICTURES.value, _OBJECTS.value, _SIZE.value)
  view = scene3d.View(_SIZE.value)
  programs: dict[str, Callable] = {
    'pictures': functools.partial(scene3d.render, view=view, background=0.1),
    'gradients': functools.partial(_picture_and_gradient, view, weights),
  }
  ways = {
    f'{_FEW.value} at once': functools.partial(jax.lax.map, batch_size=_FEW.value),
    'all at once': lambda function, solids: jax.vmap(function)(solids),
  }
  run_by = {
    (name, way): jax.jit(functools.partial(batched, function))
    for name, function in programs.items()
    for way, batched in ways.items()
  }
  times: dict[tuple[str, str], list[float]] = {each: [] for each in run_by}
  for timed in range(-1, _ROUNDS.value):
    for each, run in run_by.items():
      started = time.perf_counter()
      jax.block_until_ready(run(solids))
      if timed >= 0:
        times[each].append(time.perf_counter() - started)
  device = jax.devices()[0]
  print(f'{device.platform}, {device.device_kind}: {_OBJECTS.value} solids on {_SIZE.value} pixels')
  print(f'{"":14}{"pictures/s":>12}{"with gradient":>15}{"ratio":>8}')
  for way in ways:
    picture, gradient = (times[name, way] for name in programs)
    rates = (_PICTURES.value / statistics.median(x) for x in (picture, gradient))
    ratio = statistics.median(b / a for a, b in zip(picture, gradient, strict=True))
    print('{:14}{:>12,.0f}{:>15,.0f}{:>8.1f}'.format(way, *rates, ratio))


def _inputs(pictures: int, objects: int, size: int) -> tuple[scene3d.Solids, jax.Array]:
  """Solids anywhere on the table, and what a picture is weighted with."""
  rng = np.random.default_rng(0)
  shape = pictures, objects
  floats = (
    rng.uniform(-0.7, 0.7, (*shape, 2)),
    rng.uniform(0, 2 * np.pi, shape),
    rng.uniform(0.2, 0.3, shape),
    rng.uniform(0.5, 1.0, (*shape, 1)),
  )
  kinds = jnp.asarray(rng.integers(len(scene3d.KINDS), size=shape))
  weights = jnp.float32(rng.normal(size=(size, size, 1)))
  return scene3d.Solids(kinds, *map(jnp.float32, floats)), weights


def _picture_and_gradient(
  view: scene3d.View, weights: jax.Array, solids: scene3d.Solids
) -> tuple[jax.Array, tuple]:
  def pictured(floats):
    return scene3d.render(scene3d.Solids(solids.kinds, *floats), view, 0.1)

  image, pull_back = jax.vjp(pictured, tuple(solids[1:]))
  return image, pull_back(image * weights)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
