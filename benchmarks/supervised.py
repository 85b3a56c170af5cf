"""The networks of `configs/inverse_graphics.py` trained with labels, for comparison."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, UInt8

from air_jax import scene3d
from air_jax.config.sections import Config
from air_jax.model import air
from air_jax.model.networks import Params
from air_jax.runtime import jit
from air_jax.types import LabelledScenes, Pose, Rollout

_CHUNK = 50  # training steps of a compiled program
_DISTANCE = 0.1  # half table widths; so much off in a coordinate or in size costs half a nat


class Labelled(NamedTuple):
  """An image and what it shows."""

  image: UInt8[Array, 'H W C']
  count: Int[Array, '']
  kinds: Int[Array, ' N']
  places: Float[Array, 'N 2']
  rotations: Float[Array, ' N']
  sizes: Float[Array, ' N']


def train(config: Config, scenes: LabelledScenes, steps: int) -> tuple[air.Model, Params]:
  """Trains as many steps, with batches and learning rates as large, as the configuration says.

  Args:
    config: of the unsupervised run.
    scenes: all that have labels.
    steps: training steps.
  """
  model = air.build(config.model)
  key = jax.random.key(config.seed)
  params = air.init(model, key)
  update = config.train
  rate = optax.cosine_decay_schedule(update.learning_rate, steps, update.final_learning_rate)
  optimizer = optax.adam(rate, b2=update.adam_b2)
  labelled = Labelled(
    scenes.images,
    scenes.counts,
    scenes.labels,
    scenes.places,
    scenes.rotations,
    scene3d.SIZE * scenes.scales,
  )
  labelled = jax.tree.map(jnp.asarray, labelled)

  @jit.quick
  def advance(params, state, labelled, keys):
    def step(carry, key):
      params, state = carry
      chosen = jax.random.randint(key, (update.batch_size,), 0, len(labelled.image))
      batch = jax.tree.map(lambda x: x[chosen], labelled)

      def mean_loss(params):
        return jax.vmap(lambda each: loss(model, params, each))(batch).mean()

      updates, state = optimizer.update(jax.grad(mean_loss)(params), state, params)
      return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, state), keys)[0]

  state = optimizer.init(params)
  for start in range(0, steps, _CHUNK):
    keys = jax.random.split(jax.random.fold_in(key, start), min(_CHUNK, steps - start))
    params, state = advance(params, state, labelled, keys)
  return model, params


def loss(model: air.Model, params: Params, scene: Labelled) -> Float[Array, '']:
  """How far what is found is from the truth, in nats.

  Each step is compared with the nearest object that no step before it was compared with: squared
  errors of place and size, 1 - cos of the rotation times its symmetry, cross-entropy of kind, and
  of presence for all steps.
  """
  zero = jax.tree.map(jnp.zeros_like, air.sample_noise(model, jax.random.key(0)))
  rolled = air.rollout(model, params, scene.image / 255.0, zero)
  pose = model.networks.pose
  assert pose is not None
  found = jax.vmap(pose)(rolled.z_where, rolled.z_what)
  return _of_presence(rolled, scene.count) + _of_poses(found, scene)


def _of_presence(rolled: Rollout, count: Int[Array, '']) -> Float[Array, '']:
  wanted = jnp.arange(len(rolled.presence_logits)) < count
  return optax.sigmoid_binary_cross_entropy(rolled.presence_logits, wanted).sum()


def _of_poses(found: Pose, scene: Labelled) -> Float[Array, '']:
  free = jnp.arange(len(scene.kinds)) < scene.count
  total = jnp.zeros(())
  for t in range(len(found.place)):
    each = jax.tree.map(lambda x, t=t: x[t], found)
    k = _nearest(each.place, scene.places, free)
    offsets = jnp.append(each.place - scene.places[k], each.size - scene.sizes[k])
    # 0 where a kind looks the same at all angles.
    turn = jnp.array(scene3d.SYMMETRIES)[scene.kinds[k]] * (each.rotation - scene.rotations[k])
    error = 0.5 * (offsets**2).sum() / _DISTANCE**2
    error += 1.0 - jnp.cos(turn)
    error -= jnp.log(each.kinds[scene.kinds[k]] + 1e-6)
    total += jnp.where(free[k], error, 0.0)
    free &= jnp.arange(len(free)) != k
  return total


def _nearest(
  place: Float[Array, '2'], places: Float[Array | np.ndarray, 'N 2'], free: Bool[Array, ' N']
) -> Int[Array, '']:
  distances = ((jax.lax.stop_gradient(place) - places) ** 2).sum(-1)
  return jnp.argmin(jnp.where(free, distances, jnp.inf))
