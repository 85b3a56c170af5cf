"""Whether the devices can hold what is to be trained, known before any program is compiled."""

import jax
import jax.numpy as jnp

from air_jax.config.sections import Config
from air_jax.data.batches import BatchSource
from air_jax.runtime import memory
from air_jax.training import population as populations
from air_jax.training import sharding, train_step
from air_jax.training.population import Population

# What back-propagation keeps, as a multiple of the T canvases of an image: at least, and at most.
_LEAST_KEPT, _MOST_KEPT = 1, 1000


def check_sizes(config: Config) -> None:
  """Refuses numbers that no machine like this one can hold, before anything is built of them.

  Raises:
    UserError: with what they need and what there is.
  """
  model, train = config.model, config.train
  sizes = model.canvas_size, model.channels, model.max_steps, config.objective.particles
  need = train.population * _canvases(train.batch_size, *sizes) * _LEAST_KEPT
  _check(config.train.population, need)


def check(population: Population, source: BatchSource) -> None:
  """Refuses to train a population that the devices cannot hold.

  Raises:
    UserError: with what it needs and what there is.
  """
  if _bytes_at_most(population, source) > memory.of_devices():  # to know better takes seconds
    _check(len(population.seeds), needed_bytes(population, source))


def needed_bytes(population: Population, source: BatchSource) -> int:
  """An estimate of the memory that training takes, in bytes, without compiling it.

  The sum over all devices of the data and, for each member, of its state, its gradient and update,
  and what back-propagation keeps.
  """
  first, state = _first(population)
  spec = first.model.spec
  shape = population.batch_size, spec.canvas_size, spec.canvas_size, spec.channels
  images = jax.ShapeDtypeStruct(shape, jnp.uint8)

  def kept(learner, params, images, estimator):
    step, key = jnp.zeros((), jnp.int32), jax.random.key(0)
    return jax.vjp(
      lambda params: train_step.mean_loss(learner, params, step, images, key, estimator)[0], params
    )

  activations = jax.eval_shape(kept, first, state.params, images, state.estimator)
  return _total_bytes(population, source, state, _bytes(activations))


def _check(members, need):
  have = memory.of_devices()
  advice = 'a smaller train.batch_size, data.canvas_size, model.max_steps or layer needs less'
  if members > 1:
    advice = f'about {members * have // need} members fit, and {advice}'
  memory.check(f'training with train.population={members}', need, have, advice)


def _bytes_at_most(population, source):
  """As `needed_bytes`, from the size of canvases alone."""
  first, state = _first(population)
  spec = first.model.spec
  sizes = spec.canvas_size, spec.channels, spec.max_steps, first.objective.particles
  return _total_bytes(
    population, source, state, _MOST_KEPT * _canvases(population.batch_size, *sizes)
  )


def _canvases(batch, side, channels, steps, particles):
  """Bytes of the T canvases of each image of a batch."""
  return 4 * batch * side**2 * channels * steps * particles


def _first(population):
  """Shapes of the first member and of its state; another process may hold it."""

  def first(tree):
    return jax.eval_shape(lambda tree: jax.tree.map(lambda x: x[0], tree), tree)

  return first(population.learner), first(populations.shapes(population))


def _total_bytes(population, source, state, activations):
  whole = _bytes(state) + 2 * _bytes(state.params)  # on every device that shares the batch
  each = sharding.batch_shards(population.mesh) * whole + activations
  devices = population.mesh.size if population.mesh else 1
  return len(population.seeds) * each + devices * _bytes(source.arrays)


def _bytes(tree):
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
