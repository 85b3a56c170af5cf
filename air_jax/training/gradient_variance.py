"""The laboratory of estimators: how noisy, how biased and how dear the gradient of each loss is.

All are asked for the gradient of one batch at one point of training, again and again, with fresh
noise; what is said of them is per parameter, by part of the model.
"""

import dataclasses
import functools
import json
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tqdm

from air_jax.errors import UserError
from air_jax.objectives.registry import ESTIMATORS
from air_jax.training import train_step

PARTS = {
  'presence head': ('presence_head',),
  'location head': ('location_head',),
  'recurrent cell': ('cell', 'image_gates'),
  'encoders': ('image_encoder', 'attention', 'glimpse_encoder', 'background_encoder'),
  'decoder': ('glimpse_decoder', 'background_decoder', 'background_image'),
}
_FITTED = 2000  # updates of a baseline before its estimator is measured
_CHUNK = 10  # gradients in one call to the device


def measure(learning, state, scenes, draws, names=None):
  """Measures every estimator at one point of training.

  Args:
    learning: `Learner`, of whose configuration only the objective's name is changed.
    state: `TrainState`; its step decides smoothing, KL weight and prior.
    scenes: `LabelledScenes`; the first batch is explained, the rest teaches baselines.
    draws: gradients of each estimator, >= 10; references get four times as many.
    names: of the estimators to measure; None measures all.

  Returns:
    dict ready for JSON: `step`, `images`, `draws`, and under `estimators` by name `milliseconds` a
    gradient, `reference` (the name of the estimator whose mean gradient it is compared with: the
    one whose expectation it shares, else 'exact'), `unbiased` (whether it shares it by
    construction), and under `parts` by part of the model
      variance: of a parameter's gradient, nats^2, mean over the part's parameters,
      norm: of the mean gradient, nats,
      bias: norm of its distance from the reference's, nats,
      noise: what that norm would be without any bias, for the two are means of samples,
      along: its component along the reference's, as a share of the latter; 1 without bias,
      along_error: the standard error of that share, the reference's noise included.

  Raises:
    UserError: there is no estimator of a name, or too few scenes to teach a baseline.
  """
  names = names or list(ESTIMATORS)
  if unknown := [name for name in names if name not in ESTIMATORS]:
    raise UserError(f'no objective {unknown[0]!r}; there are {", ".join(ESTIMATORS)}')
  batch = learning.config.train.batch_size
  if len(scenes.images) <= batch:
    raise UserError(
      f'{len(scenes.images)} held-out images are too few; more than {batch} are needed'
    )
  images = jnp.asarray(scenes.images[:batch])
  reference_key, draws_key = jax.random.split(jax.random.key(learning.config.seed))
  prepared = functools.cache(lambda name: _with_objective(learning, state, scenes, name))
  needed = sorted({_reference(name) for name in names})
  total = draws * (len(names) + 4 * len(needed))
  with tqdm.tqdm(total=total, desc='gradients', disable=not sys.stderr.isatty()) as bar:

    def sample(name, draws, key, direction):
      bar.set_postfix_str(name)
      return _sample(*prepared(name), state.step, images, key, draws, direction, bar)

    # The direction is taken from other samples than the length along it: noise has length too.
    directions, references = {}, {}
    for i, name in enumerate(needed):
      for_direction, for_length = jax.random.split(jax.random.fold_in(reference_key, i))
      directions[name] = sample(name, 2 * draws, for_direction, None).mean
      references[name] = sample(name, 2 * draws, for_length, directions[name])
    measured = {}
    for i, name in enumerate(names):
      key, other = jax.random.fold_in(draws_key, i), _reference(name)
      measured[name] = {
        'reference': other,
        'unbiased': bool(ESTIMATORS[name].follows),
        **_describe(sample(name, draws, key, directions[other]), references[other]),
      }
  step = int(state.step)
  return {'step': step, 'images': batch, 'draws': draws, 'estimators': measured}


def _reference(name):
  return ESTIMATORS[name].follows or 'exact'


class _Sampled(NamedTuple):
  """Many gradients of one estimator."""

  mean: dict  # by network
  variance: dict
  along: dict  # by part of the model, [draws] products with the direction
  seconds: float  # a gradient


def _with_objective(learning, state, scenes, name):
  """A learner by another objective, and parameters for it; what it lacks is made and taught."""
  config, estimator = learning.config, ESTIMATORS[name]
  number = max(config.objective.particles, estimator.particles)
  changed = train_step.make(
    dataclasses.replace(
      config,
      objective=dataclasses.replace(config.objective, name=name, particles=number, sleep=False),
      model=dataclasses.replace(config.model, baseline=estimator.baseline),
    )
  )
  fresh = train_step.init(changed)
  params = {part: state.params.get(part, own) for part, own in fresh.params.items()}
  if not estimator.baseline:
    return changed, params
  images = jnp.asarray(scenes.images[config.train.batch_size :])
  return changed, _fit(changed, params, state.step, images)


@functools.partial(jax.jit, static_argnums=0)
def _fit(learning, params, step, images):
  """Teaches the baseline alone, at a standstill of all else."""
  optimizer, batch = learning.optimizer, min(learning.config.train.batch_size, len(images))

  def update(carry, key):
    params, opt_state = carry
    choice_key, gradient_key = jax.random.split(key)
    chosen = images[jax.random.choice(choice_key, len(images), (batch,))]
    gradient, _ = train_step.gradient(learning, params, step, chosen, gradient_key)
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    taught = {part: updates[part] for part in train_step.BASELINE_PARTS if part in updates}
    moved = optax.apply_updates({part: params[part] for part in taught}, taught)
    return (params | moved, opt_state), None

  keys = jax.random.split(jax.random.key(learning.config.seed), _FITTED)
  return jax.lax.scan(update, (params, optimizer.init(params)), keys)[0][0]


def _sample(learning, params, step, images, key, draws, direction, bar):
  """Draws gradients, as many as fill whole chunks."""
  zeros = jax.tree.map(jnp.zeros_like, params)
  total, direction = (jnp.zeros(()), zeros, zeros), direction or zeros
  along, seconds = [], []
  for chunk in jax.random.split(key, -(-draws // _CHUNK) * _CHUNK).reshape(-1, _CHUNK):
    started = time.perf_counter()
    total, products = jax.block_until_ready(
      _add(learning, total, direction, params, step, images, chunk)
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


@functools.partial(jax.jit, static_argnums=0)
def _add(learning, total, direction, params, step, images, keys):
  """Welford's sums with some gradients more, and their products with a direction by part."""

  def add(total, key):
    number, mean, squares = total
    gradient, _ = train_step.gradient(learning, params, step, images, key)
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
  """What of a tree by networks belongs to a part of the model."""
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


def table(summary):
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


def write(summary, folder):
  """Keeps a summary in a folder, as variance.json."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'variance.json').write_text(json.dumps(summary, indent=2) + '\n')
