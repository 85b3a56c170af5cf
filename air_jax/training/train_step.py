"""Learning as pure functions: the loss of an image, the gradient of a batch, one update."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from air_jax import objectives
from air_jax.config.schema import Config
from air_jax.model import air, networks
from air_jax.objectives import distributions, multi_sample
from air_jax.objectives.registry import ESTIMATORS
from air_jax.training import doubly_reparameterized, schedules

BASELINE_PARTS = ('baseline_net', 'signal')  # of the parameters; optimised by themselves
_SIGNAL_DECAY = 0.8  # of the moving averages of a baseline's signal (Mnih & Gregor, 2014)


class TrainState(NamedTuple):
  """All that changes from step to step; randomness is a function of seed and step."""

  step: jax.Array  # [] int32, updates made
  params: dict  # by part of the model
  average: dict  # of the parameters over recent steps; what is evaluated
  opt_state: optax.OptState


class Learner(NamedTuple):
  """All that stays: functions and configuration. Hashable, so that jit can take it as static."""

  config: Config
  model: air.Model
  schedules: schedules.Schedules
  optimizer: optax.GradientTransformation


def make(config, functions=None):
  """Builds the model, the schedules and the optimiser of a run.

  Args:
    config: `Config`.
    functions: `networks.Networks` to share with another learner, whose networks differ in initial
      values at most; None makes them anew.

  Returns:
    `Learner`.
  """
  schedule = schedules.build(config.objective, config.train)
  multiple = config.train.baseline_learning_rate
  model_optimizer = [optax.adam(schedule.learning_rate, b2=config.train.adam_b2)]
  if config.train.clip_norm:
    model_optimizer.insert(0, optax.clip_by_global_norm(config.train.clip_norm))
  optimizer = optax.partition(
    {
      'model': optax.chain(*model_optimizer),
      'baseline_net': optax.adam(lambda step: multiple * schedule.learning_rate(step)),
      'signal': optax.sgd(1.0 - _SIGNAL_DECAY),
    },
    lambda params: {part: part if part in BASELINE_PARTS else 'model' for part in params},
  )
  if config.train.skip_not_finite:
    optimizer = optax.apply_if_finite(optimizer, config.train.skip_not_finite)
  model = air.Model(config.model, functions or networks.build(config.model))
  return Learner(config, model, schedule, optimizer)


def init(learner):
  """The state before the first step, a function of the configured seed."""
  init_key, _ = _keys(learner)
  params = learner.model.networks.init(init_key)
  start = jnp.zeros((), jnp.int32)
  return TrainState(start, params, jax.tree.map(jnp.copy, params), learner.optimizer.init(params))


def loss(learner, params, step, image, noise, key):
  """The loss of one image, and what to report of it.

  Args:
    learner: `Learner`.
    params: parameters of the model.
    step: [] int, for the schedules.
    image: [H, W, C] in [0, 1].
    noise: `Noise` from `air.draw_noise`; with a leading [K] for losses of several roll-outs.
    key: consumed, by losses that draw a count.

  Returns:
    ([] loss, dict of scalars in nats; `predicted_count` is the mode of q(n)).
  """
  model, schedule, objective = learner.model, learner.schedules, learner.config.objective
  estimator = ESTIMATORS[objective.name]
  sample = air.reparameterise if estimator.pathwise else air.stop_sample
  smoothing, weight = schedule.smoothing(step), schedule.kl_weight(step)

  def roll_out(noise, params=params, through_densities=not estimator.doubly):
    rolled = air.rollout(model, params, image, noise, sample)
    if not through_densities:
      rolled = doubly_reparameterized.stop_densities(rolled)
    success = schedule.success(step)
    terms = air.elbo_terms(model, params, image, rolled, success)
    weighted = air.elbo_terms(model, params, image, rolled, success, weight)
    if objective.sampled_kl:
      weighted = weighted._replace(kl_z=weighted.log_ratio)
    return rolled, terms, weighted

  several = bool(_roll_outs(learner))
  rolled, terms, weighted = (jax.vmap(roll_out) if several else roll_out)(noise)
  options = {'temperature': schedule.temperature(step)} if estimator.temperature else {}
  value = estimator.loss(weighted, key, smoothing, **options)
  if estimator.doubly:
    still = jax.lax.stop_gradient(params)
    value += doubly_reparameterized.lesson(
      lambda noise: roll_out(noise, still, True)[-1], noise, rolled, smoothing, weight
    )
  if objective.sleep:
    value += _sleep(learner, params, step, jax.random.fold_in(key, 1))
  described = jax.vmap(_describe)(terms) if several else _describe(terms)
  report = {name: jnp.mean(figure) for name, figure in described.items()}
  log_q = multi_sample.log_mean_exp(terms.log_q) if several else terms.log_q
  return value, report | {'loss': value, 'predicted_count': distributions.count_mode(log_q)}


def _roll_outs(learner):
  """(K,) for the objectives of several roll-outs, () for the others."""
  objective = learner.config.objective
  return (objective.particles,) if ESTIMATORS[objective.name].particles else ()


def _sleep(learner, params, step, key):
  """How badly the model explains a scene it has dreamt: -log q(z, n | x) of z, n, x ~ p."""
  model, stopped = learner.model, jax.lax.stop_gradient(params)
  latents_key, pixels_key = jax.random.split(key)
  latents = air.sample_prior(model, stopped, latents_key, learner.schedules.success(step))
  canvas = air.decode(model, stopped, latents)
  noise = jax.random.normal(pixels_key, canvas.shape)
  dream = canvas + model.config.likelihood_std * noise
  return -air.log_posterior(model, params, dream, latents)


def _describe(terms):
  elbo, nll = objectives.elbo(terms), jnp.exp(terms.log_q) @ terms.nll
  return {'elbo': elbo, 'nll': nll, 'kl': -elbo - nll}


def gradient(learner, params, step, images, key):
  """The gradient of `mean_loss` in the parameters, and its reports."""
  return jax.grad(mean_loss, argnums=1, has_aux=True)(learner, params, step, images, key)


def mean_loss(learner, params, step, images, key):
  """The mean loss of a batch.

  Args:
    learner: `Learner`.
    params: parameters of the model.
    step: [] int, for the schedules.
    images: [B, H, W, C] uint8.
    key: consumed, for noise and counts.

  Returns:
    ([] mean, the reports of `loss` with a leading [B]).
  """
  noise_key, count_key = jax.random.split(key)
  images = images / 255.0
  noise = air.draw_noise(learner.model, noise_key, (len(images), *_roll_outs(learner)))
  keys = jax.random.split(count_key, len(images))
  losses, report = jax.vmap(functools.partial(loss, learner, params, step))(images, noise, keys)
  return losses.mean(), report


def train_step(learner, state, images, counts):
  """One update on a batch.

  Args:
    learner: `Learner`.
    state: `TrainState`.
    images: [B, H, W, C] uint8.
    counts: [B] int, their true counts, for the report alone; None where they are not known.

  Returns:
    (`TrainState`, dict of scalars); where `train.skip_not_finite` allows it, `skipped` is 1 for an
    update that was left out, whose other scalars need not be finite.
  """
  _, train_key = _keys(learner)
  step_key = jax.random.fold_in(train_key, state.step)
  slope, report = gradient(learner, state.params, state.step, images, step_key)
  updates, opt_state = learner.optimizer.update(slope, state.opt_state, state.params)
  if counts is not None:
    report['count_accuracy'] = report['predicted_count'] == counts
  report = {name: jnp.mean(value) for name, value in report.items()}
  params = optax.apply_updates(state.params, updates)
  report['grad_norm'] = jnp.sqrt(optax.tree.vdot(slope, slope))
  if most := learner.config.train.skip_not_finite:
    in_a_row = opt_state.notfinite_count
    report['skipped'] = jnp.float32((in_a_row > 0) & (in_a_row <= most))
  # Early on the average is over a share of the steps made, so that it forgets the start.
  decay = jnp.minimum(learner.config.train.average, state.step / (state.step + 10.0))
  average = optax.incremental_update(params, state.average, 1.0 - decay)
  return TrainState(state.step + 1, params, average, opt_state), report


def _keys(learner):
  """The seed's keys for initial parameters and for training."""
  return jax.random.split(jax.random.key(learner.config.seed))
