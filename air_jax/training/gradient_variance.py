"""The variance, bias and cost of each gradient estimator, measured at one point of training.

Every estimator computes the gradient of the same batch many times, with fresh noise. The statistics
are per parameter, by part of the model.
"""

import dataclasses
import functools
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tqdm

from air_jax.errors import UserError
from air_jax.model import networks
from air_jax.objectives import registry
from air_jax.objectives.registry import ESTIMATORS
from air_jax.training import train_step
from air_jax.training.train_step import Learner, TrainState
from air_jax.types import LabelledScenes

PARTS = {
  'presence head': ('presence_head',),
  'location head': ('location_head',),
  'recurrent cell': ('cell',),
  'encoders': ('image_encoder', 'attention', 'glimpse_encoder', 'background_encoder'),
  'decoder': ('glimpse_decoder', 'background_decoder', 'background_image'),
}
_BASELINE_STEPS = 2000  # updates of a baseline before its estimator is measured
_CHUNK = 10  # gradients in one call to the device


def measure(
  learner: Learner,
  state: TrainState,
  scenes: LabelledScenes,
  samples: int,
  names: Sequence[str] | None = None,
) -> dict[str, Any]:
  """Measures every estimator at one point of training.

  Args:
    learner: of which only the objective is changed.
    state: its step decides smoothing, KL weight and prior.
    scenes: the first batch of them is explained; baselines are trained on the rest.
    samples: gradients of each estimator, >= 10; references get four times as many.
    names: estimators to measure, by name or import path; None measures all known ones.

  Returns:
    dict ready for JSON: `step`, `images`, `draws`, and under `estimators` by name `milliseconds` a
    gradient, `reference` (the estimator whose mean gradient it is compared with: the one
    whose expectation it shares, else 'exact'), `unbiased` (whether it shares it by
    construction), and under `parts` by part of the model
      variance: of a parameter's gradient, nats^2, mean over the part's parameters,
      norm: of the mean gradient, nats,
      bias: norm of its distance from the reference's, nats,
      noise: what that norm would be without any bias, for the two are means of samples,
      along: its component along the reference's, as a share of the latter; 1 without bias,
      along_error: the standard error of that share, the reference's noise included.

  Raises:
    UserError: there is no estimator of a name, or there are too few scenes to train a baseline.
  """
  names = list(names or ESTIMATORS)
  for name in names:
    registry.resolve(name)
  batch, seed = learner.update.batch_size, int(learner.seed)
  if len(scenes.images) <= batch:
    raise UserError(
      f'{len(scenes.images)} held-out images are too few; more than {batch} are needed'
    )
  images = jnp.asarray(scenes.images[:batch])
  reference_key, samples_key = jax.random.split(jax.random.key(seed))
  prepared = functools.cache(lambda name: _with_objective(learner, state, scenes, name))
  needed = sorted({_reference(name) for name in names})
  total = samples * (len(names) + 4 * len(needed))
  with tqdm.tqdm(total=total, desc='gradients', disable=not sys.stderr.isatty()) as bar:

    def sample(name, number, key, direction):
      bar.set_postfix_str(name)
      return _sample(*prepared(name), state.step, images, key, number, direction, bar)

    # The direction is taken from other samples than the length along it: noise has length too.
    directions, references = {}, {}
    for i, name in enumerate(needed):
      for_direction, for_length = jax.random.split(jax.random.fold_in(reference_key, i))
      directions[name] = sample(name, 2 * samples, for_direction, None).mean
      references[name] = sample(name, 2 * samples, for_length, directions[name])
    measured = {}
    for i, name in enumerate(names):
      key, other = jax.random.fold_in(samples_key, i), _reference(name)
      measured[name] = {
        'reference': other,
        'unbiased': bool(registry.resolve(name).same_expectation_as),
        **_describe(sample(name, samples, key, directions[other]), references[other]),
      }
  step = int(state.step)
  return {'step': step, 'images': batch, 'draws': samples, 'estimators': measured}


def _reference(name):
  return registry.resolve(name).same_expectation_as or 'exact'


class _Sampled(NamedTuple):
  """Many gradients of one estimator."""

  mean: dict  # by network
  variance: dict
  along: dict  # by part of the model, [draws] products with the direction
  seconds: float  # a gradient


def _with_objective(learner, state, scenes, name):
  """A learner with another objective, its parameters and its estimator's state.

  Parameters that the model lacks are initialised, and a baseline is trained.
  """
  estimator = registry.resolve(name)
  particles = max(learner.objective.particles, estimator.particles)
  spec = dataclasses.replace(learner.model.spec, baseline=estimator.baseline)
  changed = dataclasses.replace(
    learner,
    objective=dataclasses.replace(learner.objective, name=name, particles=particles, sleep=False),
    model=dataclasses.replace(learner.model, spec=spec, networks=networks.resolve(spec)),
  )
  fresh = train_step.init(changed)
  params = {role: state.params.get(role, own) for role, own in fresh.params.items()}
  if not estimator.baseline:
    return changed, params, fresh.estimator
  images = jnp.asarray(scenes.images[learner.update.batch_size :])
  return changed, *_fit_baseline(changed, params, fresh.estimator, state.step, images)


@jax.jit
def _fit_baseline(learner, params, estimator_state, step, images):
  """Trains the baseline alone; all else stays."""
  optimizer, batch = train_step.optimizer(learner.update), learner.update.batch_size

  def update(carry, key):
    params, opt_state, estimator_state = carry
    choice_key, gradient_key = jax.random.split(key)
    chosen = images[jax.random.choice(choice_key, len(images), (min(batch, len(images)),))]
    grads, (_, estimator_state) = train_step.gradient(
      learner, params, step, chosen, gradient_key, estimator_state
    )
    moved, opt_state = train_step.apply_gradient(learner, grads, opt_state, params, step)
    kept = params | {train_step.BASELINE: moved[train_step.BASELINE]}
    return (kept, opt_state, estimator_state), None

  keys = jax.random.split(jax.random.key(learner.seed), _BASELINE_STEPS)
  start = params, optimizer.init(params), estimator_state
  params, _, estimator_state = jax.lax.scan(update, start, keys)[0]
  return params, estimator_state


def _sample(learner, params, estimator_state, step, images, key, samples, direction, bar):
  """Samples gradients, as many as fill whole chunks."""
  zeros = jax.tree.map(jnp.zeros_like, params)
  total, direction = (jnp.zeros(()), zeros, zeros), direction or zeros
  along, seconds = [], []
  for chunk in jax.random.split(key, -(-samples // _CHUNK) * _CHUNK).reshape(-1, _CHUNK):
    started = time.perf_counter()
    total, products = jax.block_until_ready(
      _add(learner, total, direction, params, estimator_state, step, images, chunk)
    )
    seconds.append((time.perf_counter() - started) / _CHUNK)
    along.append(products)
    bar.update(_CHUNK)
  number, mean, squares = total
  return _Sampled(
    mean,
    jax.tree.map(lambda s: s / (number - 1), squares),
    {part: np.concatenate([products[part] for products in along]) for part in PARTS},
    float(np.median(seconds[1:] or seconds)),  # the first call compiles
  )


@jax.jit
def _add(learner, total, direction, params, estimator_state, step, images, keys):
  """Welford's sums with more gradients, and their products with a direction by part."""

  def add(total, key):
    number, mean, squares = total
    gradient, _ = train_step.gradient(learner, params, step, images, key, estimator_state)
    number += 1
    off = jax.tree.map(jnp.subtract, gradient, mean)
    mean = jax.tree.map(lambda m, o: m + o / number, mean, off)
    squares = jax.tree.map(lambda s, o, g, m: s + o * (g - m), squares, off, gradient, mean)
    products = {
      part: optax.tree.vdot(_only(gradient, part), _only(direction, part)) for part in PARTS
    }
    return (number, mean, squares), products

  return jax.lax.scan(add, total, keys)


def _only(tree, part):
  """The parameters of a part of the model."""
  return {name: tree[name] for name in PARTS[part] if name in tree}


def _describe(sampled, reference):
  parts = {}
  for part in PARTS:
    ours, theirs = (_flat(_only(these.mean, part)) for these in (sampled, reference))
    noise, their_noise = (_flat(_only(these.variance, part)) for these in (sampled, reference))
    length, error = _mean_and_error(sampled.along[part])
    their_length, their_error = _mean_and_error(reference.along[part])
    number, their_number = len(sampled.along[part]), len(reference.along[part])
    parts[part] = {
      'variance': noise.mean(),
      'norm': np.linalg.norm(ours),
      'bias': np.linalg.norm(ours - theirs),
      'noise': np.sqrt(noise.sum() / number + their_noise.sum() / their_number),
      'along': length / their_length,
      'along_error': np.hypot(error, length / their_length * their_error) / abs(their_length),
    }
  parts = {part: {k: float(v) for k, v in figures.items()} for part, figures in parts.items()}
  return {'milliseconds': 1e3 * sampled.seconds, 'parts': parts}


def _mean_and_error(values):
  values = values.astype(np.float64)
  return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def _flat(tree):
  return np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in jax.tree.leaves(tree)])


def table(summary: dict[str, Any]) -> str:
  """A summary of `measure` as text for the terminal."""
  lines = [
    f'gradients of {summary["images"]} images at step {summary["step"]:,}, '
    f'{summary["draws"]} of each estimator',
    '',
    'variance of a parameter, mean over a part; * has an expectation of its own',
    f'{"":18}' + ''.join(f'{part:>16}' for part in PARTS) + f'{"ms":>9}',
  ]
  for name, figures in summary['estimators'].items():
    shown = name + ('' if figures['unbiased'] else ' *')
    row = ''.join(f'{figures["parts"][part]["variance"]:>16.2e}' for part in PARTS)
    lines.append(f'{shown:18}{row}{figures["milliseconds"]:>9.1f}')
  lines += [
    '',
    'mean gradient along that of the reference, as a share of it, and its standard error',
    f'{"":18}' + ''.join(f'{part:>16}' for part in PARTS) + '   reference',
  ]
  for name, figures in summary['estimators'].items():
    parts = (figures['parts'][part] for part in PARTS)
    row = ''.join(f'{p["along"]:>9.3f} ±{p["along_error"]:5.3f}' for p in parts)
    lines.append(f'{name:18}{row}   {figures["reference"]}')
  return '\n'.join(lines)
