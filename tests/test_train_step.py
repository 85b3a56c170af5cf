"""The loss under its schedules, the optimiser against Adam written out, steps and their reports."""

import functools

import jax
import numpy as np
import pytest

from air_jax import objectives
from air_jax.config import schema as configuration
from air_jax.configs import tiny
from air_jax.model import air
from air_jax.objectives import per_step
from air_jax.objectives.baseline import SignalAverages
from air_jax.objectives.registry import ESTIMATORS
from air_jax.training import train_step

_train_step = jax.jit(train_step.train_step)


@pytest.mark.parametrize('sampled_kl', (False, True))
def test_loss_is_the_objective_of_the_terms_at_the_schedules_of_the_step(
  tiny_config, params, image, noise, sampled_kl
):
  tiny_config.objective.update(
    name='exact',
    sampled_kl=sampled_kl,
    smoothing=0.8,
    smoothing_hold=0,
    smoothing_steps=10,
    kl_warmup=0.1,
    kl_warmup_steps=10,
    prior_start=0.5,
    prior_end=0.05,
    prior_steps=10,
  )
  learner = train_step.build(configuration.parse(tiny_config))

  @jax.jit
  def run(params, step):
    loss, (report, _) = train_step.loss(learner, params, step, image, noise, jax.random.key(0))
    rolled = air.rollout(learner.model, params, image, noise)
    terms = (
      air.elbo_terms(learner.model, params, image, rolled, 0.025**0.5, weight)
      for weight in (1.0, 0.55)
    )
    return loss, report, *terms

  loss, report, terms, weighted = run(params, 5)
  q, log_p, nll = np.exp(terms.log_q), terms.log_p, terms.nll
  mixed = 0.6 * q + 0.4 / 4
  kl_z = weighted.log_ratio if sampled_kl else weighted.kl_z
  expected = mixed @ (nll + kl_z + np.log(mixed) - log_p)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  # What is reported is the plain bound, comparable from step to step.
  kl = q @ (terms.kl_z + terms.log_q - log_p)
  np.testing.assert_allclose(report['loss'], loss)
  np.testing.assert_allclose(report['nll'], q @ nll, rtol=1e-5)
  np.testing.assert_allclose(report['kl'], kl, rtol=1e-3)
  np.testing.assert_allclose(report['elbo'], -q @ nll - kl, rtol=1e-5)
  assert report['predicted_count'] == np.argmax(q)


@pytest.mark.slow
@pytest.mark.parametrize('name', ('iwae', 'vimco', 'collapsed_iwae', 'rws'))
def test_objectives_of_several_roll_outs_are_given_so_many(tiny_config, image, name):
  tiny_config.objective.update(
    name=name, particles=3, kl_warmup_steps=0, prior_start=0.2, prior_end=0.2
  )
  tiny_config.model.update(max_steps=2, patch_rounds=0)  # takes less time to compile
  learner = train_step.build(configuration.parse(tiny_config))
  noise = air.sample_noise(learner.model, jax.random.key(5), (3,))
  key = jax.random.key(0)

  @jax.jit
  def run(params):
    def roll_out(noise):
      rolled = air.rollout(learner.model, params, image, noise)
      return air.elbo_terms(learner.model, params, image, rolled, 0.2)

    state = train_step.init(learner).estimator
    ours = train_step.loss(learner, params, 9999, image, noise, key, state)
    return ours, jax.vmap(roll_out)(noise)

  (loss, (report, _)), terms = run(train_step.init(learner).params)
  estimator = ESTIMATORS[name]
  expected = estimator.loss(terms, key, 0.0)
  np.testing.assert_allclose(loss, expected[0] if estimator.init else expected, rtol=1e-5)
  elbos = [objectives.elbo(jax.tree.map(lambda x, i=i: x[i], terms)) for i in range(3)]
  np.testing.assert_allclose(report['elbo'], np.mean(elbos), rtol=1e-5)
  state, report = _train_step(learner, train_step.init(learner), *_scenes(4))
  assert state.step == 1 and all(np.isfinite(value).all() for value in report.values())


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in ESTIMATORS if not ESTIMATORS[name].particles])
def test_every_loss_of_one_roll_out_trains(tiny_config, name):
  tiny_config.objective.update(name=name, centre=True, normalise=True)
  tiny_config.model.update(max_steps=2, patch_rounds=0)  # takes less time to compile
  learner = train_step.build(configuration.parse(tiny_config))
  begun = jax.jit(train_step.init)(learner)
  state, report = _train_step(learner, begun, *_scenes(8))
  assert all(np.isfinite(value).all() for value in report.values())
  kernels = [s.params['presence_head']['hidden_0'] for s in (state, begun)]
  assert (kernels[0]['kernel'] != kernels[1]['kernel']).any()


def test_presences_are_relaxed_at_the_temperature_of_the_step(tiny_config, params, image, noise):
  tiny_config.objective.update(
    name='concrete', temperature=2.0, final_temperature=0.5, temperature_steps=10
  )
  learner = train_step.build(configuration.parse(tiny_config))
  key = jax.random.key(4)

  @jax.jit
  def run(params):
    rolled = air.rollout(learner.model, params, image, noise)
    success, weight = learner.schedules.success(5), learner.schedules.kl_weight(5)
    terms = air.elbo_terms(learner.model, params, image, rolled, success, weight)
    ours, _ = train_step.loss(learner, params, 5, image, noise, key)
    return ours, per_step.concrete(terms, key, learner.schedules.smoothing(5), 1.0)

  np.testing.assert_allclose(*run(params), rtol=1e-5)


@pytest.mark.slow
def test_sleep_teaches_all_but_the_decoder_to_explain_dreams(tiny_config, params, image):
  tiny_config.objective.update(name='rws', particles=2, prior_start=1.0, prior_end=1.0)
  awake = train_step.build(configuration.parse(tiny_config))
  tiny_config.objective.sleep = True
  dreaming = train_step.build(configuration.parse(tiny_config))
  noise = air.sample_noise(awake.model, jax.random.key(5), (2,))

  @jax.jit
  def asleep(params, key):
    """What sleep adds to the loss."""
    with_dream, without = (
      train_step.loss(learner, params, 0, image, noise, key)[0] for learner in (dreaming, awake)
    )
    return with_dream - without

  keys = jax.random.split(jax.random.key(6), 200)
  losses, slopes = jax.vmap(jax.value_and_grad(asleep), (None, 0))(params, keys)
  assert len(np.unique(losses)) > 150
  np.testing.assert_allclose(jax.tree.leaves(slopes['glimpse_decoder'])[0], 0, atol=1e-3)
  # The posterior of the count learns how often each is dreamt: 0 to 3 alike, so that 3 in 4 start.
  start = slopes['presence_head']['output']['bias'].mean()
  assert start > 0.1  # it began with nearly certain presences; fewer are dreamt


def test_averages_of_the_learning_signal_move_by_a_fifth_of_the_mean_distance(tiny_config):
  tiny_config.objective.update(name='nvil', centre=True, normalise=True)
  learner = train_step.build(configuration.parse(tiny_config))
  state, (images, _) = train_step.init(learner), _scenes(4)
  start = SignalAverages(np.float32(1.0), np.float32(5.0))

  @jax.jit
  def run(images, averages):
    key = jax.random.key(0)
    return train_step.mean_loss(learner, state.params, 0, images, key, averages)[1][1]

  moved = run(images, start)
  # The residual of each image shows in how far it moves averages that start at 0.
  at_zero = run(images, SignalAverages(np.float32(0.0), np.float32(0.0)))
  residual = at_zero.mean / 0.2
  np.testing.assert_allclose(moved.mean, 0.8 * 1.0 + 0.2 * residual, rtol=1e-4)
  assert moved.variance > 0.8 * 5.0 and moved.variance != at_zero.variance


def test_the_optimiser_is_adam_clipped_for_the_model_and_faster_for_the_baseline(tiny_config):
  tiny_config.train.update(
    steps=10, learning_rate=0.1, adam_b2=0.8, clip_norm=1.0, baseline_learning_rate=3.0
  )
  learner = train_step.build(configuration.parse(tiny_config))
  params = {part: np.zeros(2, np.float32) for part in ('cell', 'location_head', 'baseline')}
  state = train_step.optimizer(learner.update).init(params)
  moments = {part: (0.0, 0.0) for part in params}
  for step, gradient in enumerate(np.float32([[3.0, -4.0], [0.3, 0.4], [0.0, 6.0]])):
    grads, before = {part: gradient for part in params}, params
    params, state = train_step.apply_gradient(learner, grads, state, params, step)
    decay = 0.02 + 0.98 * (1 + np.cos(np.pi * step / 10)) / 2
    norm = np.sqrt(2) * np.linalg.norm(gradient)  # of the model's two parts together
    for part in params:
      update = params[part] - before[part]
      if part == 'baseline':
        rate, b2, g = 0.3, 0.999, gradient
      else:
        rate, b2, g = 0.1, 0.8, gradient / max(1, norm)
      m, v = moments[part]
      m, v = moments[part] = 0.9 * m + 0.1 * g, b2 * v + (1 - b2) * g**2
      m, v = m / (1 - 0.9 ** (step + 1)), v / (1 - b2 ** (step + 1))
      expected = -rate * decay * m / (np.sqrt(v) + 1e-8)
      np.testing.assert_allclose(update, expected, rtol=1e-4, atol=1e-7)


def test_update_that_is_left_out_changes_nothing(tiny_config):
  tiny_config.train.skip_not_finite = 1
  optimizer = train_step.optimizer(configuration.parse(tiny_config).train)
  params = {'cell': np.ones(2, np.float32), 'location_head': np.ones(2, np.float32)}
  bad = params | {'cell': np.float32([1.0, np.inf])}
  first, state = optimizer.update(params, optimizer.init(params), params)
  left_out, after = optimizer.update(bad, state, params)
  jax.tree.map(np.testing.assert_array_equal, after.inner_state, state.inner_state)
  assert not any(map(np.any, left_out.values())) and all(map(np.all, first.values()))
  assert not np.isfinite(optimizer.update(bad, after, params)[0]['cell']).all()


def test_initial_parameters_are_a_function_of_the_seed(tiny_config):
  def initial(seed):
    tiny_config.seed = seed
    learner = train_step.build(configuration.parse(tiny_config))
    return train_step.init(learner).params['location_head']

  first, again, other = map(initial, (0, 0, 1))
  jax.tree.map(np.testing.assert_array_equal, first, again)
  assert (jax.tree.leaves(first)[1] != jax.tree.leaves(other)[1]).all()


@functools.cache
def _learner():
  config = tiny.get_config()
  config.train.average = 0.15
  return train_step.build(configuration.parse(config))


def _scenes(size):
  """Noise, said to hold 0, 1, 2, 3, 0, ... objects."""
  images = np.random.default_rng(0).integers(0, 256, (size, 50, 50, 1), np.uint8)
  return images, np.arange(size, dtype=np.int32) % 4


def test_average_of_parameters_follows_them_and_forgets_the_start():
  learner = _learner()
  state = train_step.init(learner)

  def kernel(params):
    return np.asarray(params['cell']['gates']['kernel'], np.float64)

  average = kernel(state.params)
  for decay in (0.0, 1 / 11, 0.15, 0.15):  # s / (s + 10), and 0.15 from s = 2 on
    before, state = state.params, _train_step(learner, state, *_scenes(8))[0]
    assert (kernel(before) != kernel(state.params)).any()
    average = decay * average + (1 - decay) * kernel(state.params)
    np.testing.assert_allclose(kernel(state.average), average, rtol=1e-5, atol=1e-8)


def test_step_reports_means_over_the_batch_and_the_counts_it_got_right():
  learner, (images, counts) = _learner(), _scenes(8)
  _, report = _train_step(learner, train_step.init(learner), images, counts)
  assert report['predicted_count'] == 3  # as the presence head starts
  assert report['count_accuracy'] == 2 / 8
  np.testing.assert_allclose(report['elbo'], -report['nll'] - report['kl'], rtol=1e-5)


def test_step_without_counts_reports_all_but_the_accuracy():
  learner, (images, counts) = _learner(), _scenes(8)
  report_of = functools.partial(train_step.train_step, learner)
  known, unknown = (
    jax.eval_shape(report_of, train_step.init(learner), images, counts)[1]
    for counts in (counts, None)
  )
  assert known.keys() - unknown.keys() == {'count_accuracy'} and unknown.keys() < known.keys()
