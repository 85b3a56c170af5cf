"""The search for a better explanation: it never makes the bound worse, and says what it found."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
import samples
import scipy.stats

from air_jax.model import air, rendering, search
from air_jax.model.rendering import COMPOSITINGS
from air_jax.types import Normal

SUCCESS = 0.3


@pytest.fixture(params=['lstm', 'voting', 'over'])
def started(request, model):
  """A model, an image of its own objects, and the roll-out to start from."""
  changes = {
    'lstm': {'cell': 'lstm'},
    'voting': {'cell': 'voting'},
    'over': {'cell': 'voting', 'compositing': 'over'},
  }
  model, params, _, noise = samples.variant(
    model, max_steps=4, sweeps=2, success=SUCCESS, **changes[request.param]
  )
  # Bright objects, which are worth something.
  params = params | {'glimpse_decoder': jax.tree.map(lambda x: x, params['glimpse_decoder'])}
  params['glimpse_decoder']['output']['bias'] += 4.0
  image = np.asarray(jax.jit(air.rollout)(model, params, np.zeros((50, 50, 1)), noise).canvases[2])
  means = jax.tree.map(np.zeros_like, noise)
  return model, params, image, jax.jit(air.rollout)(model, params, image, means)


@pytest.mark.parametrize('name', sorted(COMPOSITINGS))
@pytest.mark.parametrize('likelihood', ['gaussian', 'student'])
def test_a_subset_is_priced_as_its_own_canvas(model, name, likelihood):
  model, params, *_ = samples.variant(model, likelihood=likelihood)
  compositing = COMPOSITINGS[name]
  model = dataclasses.replace(model, compositing=compositing, numbers=air.numbers(model, params))
  rng = np.random.default_rng(0)
  image, background = rng.random((2, 8, 8, 1)).astype(np.float32)
  layers = rng.random((3, 8, 8, 1 + compositing.mask_channels)).astype(np.float32)
  nll = search.subset_nll(model, image, background, layers)
  for present in itertools.product((False, True), repeat=3):
    canvas = background[None]
    if any(present):
      canvas = rendering.compose(compositing, background, layers[np.array(present)])[-1:]
    expected = model.likelihood.prefix_nll(image, canvas, None, model.numbers).nll[0]
    np.testing.assert_allclose(nll(np.array(present)), expected, rtol=1e-4)


def divergence(normal: Normal, mean, std):
  q = scipy.stats.norm
  cross = 0.5 * (normal.std**2 + (normal.mean - mean) ** 2) / std**2 - q.logpdf(0, 0, std)
  return (cross - q.entropy(normal.mean, normal.std)).sum(-1)


def canvas_of(model, rolled, present):
  """What some of the objects paint, from the last to the first."""
  canvas = np.asarray(rolled.canvases[0])
  for layer in reversed([x for x, there in zip(rolled.painted, present, strict=True) if there]):
    if model.spec.compositing == 'over':
      canvas = layer[..., :-1] + (1 - layer[..., -1:]) * canvas
    else:
      canvas = canvas + layer
  return canvas


def cost(model, image, rolled, present):
  """The cost of some of the objects, by its formula."""
  canvas = canvas_of(model, rolled, present)
  nll = -scipy.stats.norm.logpdf(image, canvas, model.numbers.likelihood_std).sum()
  where = divergence(rolled.where, np.array([np.log(0.42 / 0.58), 0, 0]), np.array([0.05, 1, 1]))
  each = where + divergence(rolled.what, 0, 1) - np.log(SUCCESS)
  return nll + np.sum(each, where=np.array(present, bool))


def prefixes(number):
  return [[True] * n + [False] * (number - n) for n in range(number + 1)]


def test_objects_are_those_that_cost_least_and_the_worthiest_comes_first(started):
  model, params, image, rolled = started
  better = jax.jit(search.improve)(model, params, image, rolled)
  found = [cost(model, image, better, present) for present in prefixes(4)]
  start = [cost(model, image, rolled, p) for p in itertools.product([False, True], repeat=4)]
  assert min(found) <= min(start) + 0.01
  if model.spec.compositing == 'over':  # in front come first
    return
  # Of those worth keeping, taken away one after another: no other could go for less.
  for n in range(1, np.argmin(found) + 1):
    without = [
      cost(model, image, better, [t < n and t != gone for t in range(4)]) for gone in range(n)
    ]
    assert without[-1] <= min(without) + 0.01


def test_what_is_found_is_a_roll_out_like_any_other(started):
  model, params, image, rolled = started
  better = jax.jit(search.improve)(model, params, image, rolled)
  for old, new in zip(jax.tree.leaves(rolled), jax.tree.leaves(better), strict=True):
    assert old.shape == new.shape and np.isfinite(new).all()
  glimpses, layers = jax.vmap(lambda *z: air.render_object(model, params, *z))(
    better.z_where, better.z_what
  )
  np.testing.assert_allclose(better.glimpses, glimpses, atol=1e-5)
  np.testing.assert_allclose(better.painted, layers, atol=1e-5)
  canvases = [canvas_of(model, better, present) for present in prefixes(4)]
  np.testing.assert_allclose(better.canvases, canvases, atol=1e-5)


def test_parsing_counts_what_the_search_found(started):
  model, params, image, rolled = started
  latents, found = jax.jit(air.parse)(model, params, image)
  costs = [cost(model, image, found, present) for present in prefixes(4)]
  assert latents.count == np.argmin(costs)
  probabilities = np.exp(air.count_log_posterior(model, params, image, found))
  expected = np.exp(min(costs) - np.array(costs))
  np.testing.assert_allclose(probabilities, expected / expected.sum(), atol=1e-3)


@pytest.mark.parametrize('steps', [1, 2])
def test_models_of_few_steps_are_searched_too(model, steps):
  model, params, image, _ = samples.variant(model, cell='voting', max_steps=steps, sweeps=1)
  latents, rolled = jax.jit(air.parse)(model, params, image)
  assert latents.count <= steps and rolled.z_where.shape == (steps, 3)


def test_views_are_everything_and_the_halves_of_a_window_and_its_margin():
  z_where = np.array([np.log(0.5), np.arctanh(0.2), np.arctanh(-0.4)])  # a third, right and up
  whole, left, right, upper, lower = (
    np.asarray(search.in_view(z_where, view, 60))[..., 0] for view in range(5)
  )
  assert whole.all()
  assert not (left & right).any() and not (upper & lower).any()
  np.testing.assert_array_equal(left | right, upper | lower)
  # In pixels: the middle is (36, 18), the side 20, with the margin 24.
  rows, columns = np.nonzero(left | right)
  assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 29, 24, 47)
  assert np.nonzero(left)[1].max() == 35 and np.nonzero(right)[1].min() == 36
  assert np.nonzero(upper)[0].max() == 17 and np.nonzero(lower)[0].min() == 18


def test_what_is_hidden_changes_the_first_step_and_is_seen_by_the_next(started):
  model, params, image, plain = started
  means = jax.tree.map(np.zeros_like, air.sample_noise(model, jax.random.key(0)))
  roll_out = jax.jit(air.rollout)
  same = roll_out(model, params, image, means, hidden=np.zeros_like(image))
  np.testing.assert_allclose(same.z_where, plain.z_where, atol=1e-5)
  if model.spec.cell == 'voting':
    hidden = image * (np.arange(50) < 25)[:, None]
    other = roll_out(model, params, image, means, hidden=hidden)
    assert np.abs(other.z_where[0] - plain.z_where[0]).max() > 1e-3
    # The second step of the roll-out sees the image minus the first object, and no more is gone.
    gone = image - model.compositing.leave(image, other.painted[0])
    again = roll_out(model, params, image, means, hidden=gone)
    np.testing.assert_allclose(again.z_where[0], other.z_where[1], atol=1e-4)
