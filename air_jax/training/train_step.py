"""Training as pure functions: the loss of an image, the gradient of a batch, one update."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from air_jax import objectives
from air_jax.config.schema import base
from air_jax.config.sections import Config, ObjectiveConfig, UpdateConfig
from air_jax.model import air
from air_jax.model.networks import Params
from air_jax.objectives import distributions, registry
from air_jax.training import doubly_reparameterized, schedules
from air_jax.types import ElboTerms, Noise

BASELINE = 'baseline'  # the role of the parameters that have an optimiser of their own


class TrainState(NamedTuple):
  """All that changes from step to step; randomness is a function of seed and step."""

  step: Int[Array, '']  # updates made
  params: Params
  average: Params  # of the parameters over recent steps; what is evaluated
  opt_state: optax.OptState
  estimator: Any  # state of the objective's estimator, () where it has none


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Learner:
  """All that stays during a run.

  A pytree: numbers are leaves, which members of a population have each their own of; what decides
  the program is static. Cadences, paths and the like are not in it: they compile nothing anew.
  """

  objective: ObjectiveConfig = dataclasses.field(metadata={'static': True})
  update: UpdateConfig = dataclasses.field(metadata={'static': True})
  model: air.Model
  seed: Int[Array, ''] | np.uint32
  learning_rate: Float[Array, ''] | float

  @property
  def estimator(self) -> registry.Estimator:
    """The objective's estimator."""
    return registry.resolve(self.objective.name)

  @property
  def schedules(self) -> schedules.Schedules:
    """The run's schedules."""
    return schedules.build(self.objective, self.update)


def build(config: Config) -> Learner:
  """Builds the learner of a configuration.

  Raises:
    UserError: an import path in the configuration cannot be used.
  """
  update, rate = base(UpdateConfig, config.train), config.train.learning_rate
  seed = np.uint32(config.seed)
  return Learner(config.objective, update, air.build(config.model), seed, rate)


def init(learner: Learner) -> TrainState:
  """The state before the first step, a function of the seed."""
  init_key, _ = _keys(learner)
  params = air.init(learner.model, init_key)
  estimator = learner.estimator
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    average=jax.tree.map(jnp.copy, params),
    opt_state=optimizer(learner.update).init(params),
    estimator=jax.tree.map(jnp.float32, estimator.init(learner.objective))
    if estimator.init
    else (),
  )


def optimizer(update: UpdateConfig) -> optax.GradientTransformation:
  """Adam, apart for the baseline; its updates are still to be scaled, see `apply_gradient`."""
  adam = [optax.scale_by_adam(b2=update.adam_b2)]
  if update.clip_norm:
    adam.insert(0, optax.clip_by_global_norm(update.clip_norm))
  both = optax.partition(
    {'model': optax.chain(*adam), BASELINE: optax.scale_by_adam()},
    lambda params: {role: role if role == BASELINE else 'model' for role in params},
  )
  return optax.apply_if_finite(both, update.skip_not_finite) if update.skip_not_finite else both


def apply_gradient(
  learner: Learner, grads: Params, opt_state: optax.OptState, params: Params, step: Array
) -> tuple[Params, optax.OptState]:
  """One update of the parameters: Adam at the learning rate of the training step."""
  update = learner.update
  directions, opt_state = optimizer(update).update(grads, opt_state, params)
  rate = learner.learning_rate * learner.schedules.learning_rate(step)

  def scaled(role):
    factor = -rate * (update.baseline_learning_rate if role == BASELINE else 1.0)
    return jax.tree.map(lambda direction: factor * direction, directions[role])

  updates = {role: scaled(role) for role in params}
  return optax.apply_updates(params, updates), opt_state


def loss(
  learner: Learner,
  params: Params,
  step: Int[Array, ''],
  image: Float[Array, 'H W C'],
  noise: Noise,
  key: PRNGKeyArray,
  estimator_state: Any = (),
) -> tuple[Float[Array, ''], tuple[dict[str, Array], Any]]:
  """The loss of one image.

  Args:
    learner: model and objective.
    params: parameters of the model.
    step: the training step, for the schedules.
    image: in [0, 1].
    noise: from `air.sample_noise`; with a leading [K] for losses of several roll-outs.
    key: consumed, by losses that sample a count.
    estimator_state: of the objective's estimator.

  Returns:
    (loss, (dict of scalars in nats; `predicted_count` is the mode of q(n)), new estimator state)).
  """
  model, schedule, objective = learner.model, learner.schedules, learner.objective
  estimator = learner.estimator
  sample = air.reparameterize if estimator.reparameterized else air.stop_sample
  smoothing, weight = schedule.smoothing(step), schedule.kl_weight(step)
  several = bool(_roll_outs(learner))

  def roll_out(noise, params=params, stop_densities=estimator.doubly_reparameterized):
    rolled = air.rollout(model, params, image, noise, sample)
    if stop_densities:
      rolled = doubly_reparameterized.stop_densities(rolled)
    success = schedule.success(step)
    terms = air.elbo_terms(model, params, image, rolled, success)
    weighted = air.elbo_terms(model, params, image, rolled, success, weight)
    if objective.sampled_kl and weighted.log_ratio is not None:
      weighted = weighted._replace(kl_z=weighted.log_ratio)
    return rolled, terms, weighted

  rolled, terms, weighted = (jax.vmap(roll_out) if several else roll_out)(noise)
  options = {'temperature': schedule.temperature(step)} if estimator.temperature else {}
  if estimator.init:
    value, estimator_state = estimator.loss(weighted, key, smoothing, estimator_state, **options)
  else:
    value = estimator.loss(weighted, key, smoothing, **options)
  if estimator.doubly_reparameterized:
    fixed = jax.lax.stop_gradient(params)
    value += doubly_reparameterized.surrogate_loss(
      lambda noise: roll_out(noise, fixed, False)[-1], noise, rolled, smoothing, weight
    )
  if objective.sleep:
    value += _sleep_loss(learner, params, step, jax.random.fold_in(key, 1))
  return value, (_report(terms, value, several), estimator_state)


def gradient(
  learner: Learner,
  params: Params,
  step: Int[Array, ''],
  images: UInt8[Array, 'B H W C'],
  key: PRNGKeyArray,
  estimator_state: Any = (),
) -> tuple[Params, tuple[dict[str, Array], Any]]:
  """The gradient of `mean_loss` in the parameters, its reports and the new estimator state."""
  grad = jax.grad(mean_loss, argnums=1, has_aux=True)
  return grad(learner, params, step, images, key, estimator_state)


def mean_loss(
  learner: Learner,
  params: Params,
  step: Int[Array, ''],
  images: UInt8[Array, 'B H W C'],
  key: PRNGKeyArray,
  estimator_state: Any = (),
) -> tuple[Float[Array, ''], tuple[dict[str, Array], Any]]:
  """The mean loss of a batch.

  Args:
    learner: model and objective.
    params: parameters of the model.
    step: the training step, for the schedules.
    images: 0..255.
    key: consumed, for noise and counts.
    estimator_state: of the objective's estimator.

  Returns:
    (mean, (the reports of `loss` with a leading [B], new estimator state, a mean over images)).
  """
  noise_key, count_key = jax.random.split(key)
  noise = air.sample_noise(learner.model, noise_key, (len(images), *_roll_outs(learner)))
  keys = jax.random.split(count_key, len(images))
  of_image = functools.partial(loss, learner, params, step, estimator_state=estimator_state)
  losses, (report, states) = jax.vmap(of_image)(images / 255.0, noise, keys)
  return losses.mean(), (report, jax.tree.map(lambda x: x.mean(0), states))


def train_step(
  learner: Learner,
  state: TrainState,
  images: UInt8[Array, 'B H W C'],
  counts: Int[Array, ' B'] | None,
) -> tuple[TrainState, dict[str, Float[Array, '']]]:
  """One update on a batch.

  Args:
    learner: model and objective.
    state: before the update.
    images: 0..255.
    counts: their true counts, for the report alone; None where they are unknown.

  Returns:
    (new state, dict of scalars). Where `train.skip_not_finite` allows it, `skipped` is 1 for an
    update that was left out, whose other scalars need not be finite.
  """
  _, train_key = _keys(learner)
  step_key = jax.random.fold_in(train_key, state.step)
  grads, (report, estimator) = gradient(
    learner, state.params, state.step, images, step_key, state.estimator
  )
  params, opt_state = apply_gradient(learner, grads, state.opt_state, state.params, state.step)
  if counts is not None:
    report['count_accuracy'] = report['predicted_count'] == counts
  report = {name: jnp.mean(value) for name, value in report.items()}
  report['grad_norm'] = jnp.sqrt(optax.tree.vdot(grads, grads))
  if most := learner.update.skip_not_finite:
    in_a_row = opt_state.notfinite_count
    skipped = (in_a_row > 0) & (in_a_row <= most)
    estimator = jax.tree.map(lambda new, old: jnp.where(skipped, old, new), estimator,
                             state.estimator)  # fmt: skip
    report['skipped'] = jnp.float32(skipped)
  # Early on the average is over a fraction of the steps made, so that it forgets the start.
  decay = jnp.minimum(learner.update.average, state.step / (state.step + 10.0))
  average = optax.incremental_update(params, state.average, 1.0 - decay)
  return TrainState(state.step + 1, params, average, opt_state, estimator), report


def _roll_outs(learner: Learner) -> tuple[int, ...]:
  """(K,) for the objectives of several roll-outs, () for the others."""
  return (learner.objective.particles,) if learner.estimator.particles else ()


def _sleep_loss(learner, params, step, key):
  """-log q(z, n | x) of a scene sampled from the model, z, n, x ~ p (wake-sleep)."""
  model, fixed = learner.model, jax.lax.stop_gradient(params)
  latents_key, pixels_key = jax.random.split(key)
  latents = air.sample_prior(model, fixed, latents_key, learner.schedules.success(step))
  canvas = air.decode(model, fixed, latents)
  image = model.likelihood.sample(canvas, pixels_key, air.numbers(model, fixed))
  return -air.log_posterior(model, params, image, latents)


def _report(terms: ElboTerms, value: Array, several: bool) -> dict[str, Array]:
  """What is logged of an image: the plain bound, comparable from step to step."""
  summary = jax.vmap(objectives.summary)(terms) if several else objectives.summary(terms)
  report = {name: jnp.mean(each) for name, each in summary.items()}
  log_q = objectives.log_mean_exp(terms.log_q) if several else terms.log_q
  return report | {'loss': value, 'predicted_count': distributions.count_mode(log_q)}


def _keys(learner: Learner) -> Array:
  """The seed's keys for initial parameters and for training."""
  return jax.random.split(jax.random.key(learner.seed))
