"""The voting cell against its equations in NumPy, and what it promises of other canvases."""

import jax
import numpy as np
import pytest
import samples
from scipy import ndimage
from scipy.special import expit, softmax

from air_jax.model import air, voting_cell
from air_jax.model import spatial_transformer as transformer
from air_jax.model.parts import Seen

SIZE = 0.42  # of a window, as a fraction of the reference canvas


def elu(x):
  return np.where(x > 0, x, np.expm1(x))


def dense(layer, x):
  return x @ layer['kernel'].T + layer['bias']


def networks(model, scale=0.2, **changes):
  """A cell and random parameters, which are the same for every canvas."""
  changed = samples.changed(model, cell='voting', **changes)
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(air.init, changed, jax.random.key(0))
  params = jax.tree.map(lambda x: rng.normal(0, scale, x.shape).astype(x.dtype), shapes)
  return changed.networks.cell, params


def patches_of(image, size):
  """[rows, columns, P], padded with zeros."""
  side = -(-len(image) // size) * size
  padded = np.zeros((side, side, image.shape[-1]))
  padded[: len(image), : len(image)] = image
  n = side // size
  return np.array(
    [[padded[i * size : (i + 1) * size, j * size : (j + 1) * size].ravel() for j in range(n)]
     for i in range(n)]
  )  # fmt: skip


def described(params, image, size, rounds):
  x = elu(dense(params['patches'], patches_of(image, size)))
  for i in range(rounds):
    for axis, name in ((0, 'down'), (1, 'across')):
      padded = np.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(3)])
      near = [np.take(padded, np.arange(x.shape[axis]) + k, axis) for k in range(3)]
      x = elu(dense(params[f'round_{i}_{name}'], np.concatenate(near, -1)))
  return x


def expected(params, left, spec):
  """(h, mean, raw deviations, mask) by loops, on the canvas of training."""
  features = described(params['patches'], left, spec.patch_size, spec.patch_rounds)
  output = dense(params['patches']['output'], features)
  ink = (patches_of(left, spec.patch_size) ** 2).sum(-1)
  scores = (5 * output[..., 0] + np.log(ink + 1e-3)).ravel()
  middles = np.array(
    [[(spec.patch_size * (j + 0.5)) / 25 - 1, (spec.patch_size * (i + 0.5)) / 25 - 1]
     for i in range(len(ink)) for j in range(len(ink))]
  )  # fmt: skip
  votes = middles + 1.2 * SIZE * np.tanh(output[..., 1:].reshape(-1, 2))
  place = votes[scores.argmax()]
  for _ in range(3):
    weights = softmax(scores - 0.5 * ((votes - place) ** 2).sum(1) / (0.5 * SIZE) ** 2)
    place = weights @ votes
  seen, size = weights @ features.reshape(len(votes), -1), SIZE
  for i in range(spec.looks):
    crop = transformer.crop(left, np.array([1.33 * size, *place]), spec.glimpse_size)
    look = params[f'look_{i}']
    inputs = np.concatenate([np.ravel(crop), [np.log(size / SIZE)], seen])
    h = elu(dense(look['mlp']['hidden_0'], inputs))
    answer = dense(look['output'], h)
    place, size = place + SIZE * np.tanh(answer[1:3]), expit(answer[0])
  # Shares of patches lie at their middles; beyond the first and the last they stay the same.
  share = np.exp(-0.5 * ((votes - place) ** 2).sum(1) / (0.8 * SIZE) ** 2).reshape(ink.shape)
  at = (np.arange(50) + 0.5) / spec.patch_size - 0.5
  mask = ndimage.map_coordinates(share, np.meshgrid(at, at, indexing='ij'), order=1, mode='nearest')
  mean = [answer[0], *np.arctanh(np.clip(place, -0.995, 0.995))]
  return h, mean, answer[3:], mask


@pytest.mark.parametrize('changes', [{}, {'looks': 1, 'patch_size': 7, 'channels': 3}])
def test_it_votes_for_a_place_and_looks_there(model, changes):
  cell, params = networks(model, **changes)
  spec = samples.changed(model, cell='voting', **changes).spec
  left = np.random.default_rng(1).uniform(-0.2, 1, (50, 50, spec.channels)) ** 3
  seen = Seen(np.zeros_like(left), (), left, np.zeros(7), False, np.float32(SIZE), np.float32(SIZE))
  _, (h, where, mask) = cell.find(params, cell.initial_state(params), seen)
  features, mean, raw_std, share = expected(params, left, spec)
  np.testing.assert_allclose(h, features, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(where.mean, mean, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(where.std, np.log1p(np.exp(raw_std)), rtol=1e-3)
  np.testing.assert_allclose(mask[..., 0], share, atol=1e-4)


def found_on(model, side, corner, image):
  """(centre x, y and side of the window in pixels from the image, h), on a larger canvas."""
  cell, params = networks(model, 0.05)  # of a canvas of 50
  larger = networks(model, canvas_size=side)[0] if side != 50 else cell
  canvas = np.zeros((side, side, 1))
  top, left = corner
  canvas[top : top + 20, left : left + 20] = image
  seen = Seen(canvas, (), canvas, np.zeros(7), False, np.float32(SIZE), np.float32(SIZE))
  _, (h, where, _) = larger.find(params, larger.initial_state(params), seen)
  scale, x, y = transformer.place(where.mean)
  return np.array([(x + 1) / 2 * side - left, (y + 1) / 2 * side - top, scale * side]), h, where


def test_it_finds_the_same_wherever_the_object_is_and_however_large_the_canvas(model):
  image = np.random.default_rng(2).uniform(size=(20, 20, 1))
  window, h, where = found_on(model, 50, (15, 15), image)
  assert abs(where.mean[1:]).max() < 0.6  # not at an edge
  for side, corner in ((50, (15, 10)), (80, (40, 15)), (200, (150, 35))):
    other, other_h, other_where = found_on(model, side, corner, image)
    np.testing.assert_allclose(other, window, atol=0.02)
    np.testing.assert_allclose(other_h, h, rtol=1e-2, atol=2e-3)
    # Deviations in pixels: of the place at the middle, of the size by its slope.
    size, other_size = expit(where.mean[0]), expit(other_where.mean[0])
    slope, other_slope = size * (1 - size) * 50, other_size * (1 - other_size) * side
    pixels = np.array([slope, 50, 50]) * where.std
    other_pixels = np.array([other_slope, side, side]) * other_where.std
    np.testing.assert_allclose(other_pixels, pixels, rtol=1e-2)


def test_what_is_explained_is_not_proposed_again(model):
  cell, params = networks(model, 0.02)
  rng, image = np.random.default_rng(3), np.zeros((50, 50, 1))
  image[5:20, 5:20], image[30:45, 30:45] = rng.uniform(0.5, 1, (2, 15, 15, 1))

  def place(left):
    size = np.float32(SIZE)
    _, found = cell.find(
      params, cell.initial_state(params), Seen(image, (), left, np.zeros(7), False, size, size)
    )
    return np.tanh(found.where.mean[1:])

  lower, upper = image.copy(), image.copy()
  lower[:25, :25] = upper[25:, 25:] = 0
  assert place(lower).min() > 0 > place(upper).max()


def test_mean_shift_settles_where_votes_gather_near_the_highest_score():
  rng = np.random.default_rng(4)
  near, far = rng.normal((-0.5, 0.2), 0.02, (5, 2)), rng.normal((0.6, 0.6), 0.02, (9, 2))
  scores = np.concatenate([[1.1, 0.9, 1, 1, 1], np.full(9, 1.0)])
  features = np.arange(14.0)[:, None]
  ballot = voting_cell.Ballot(features, scores, np.concatenate([near, far]))
  place, seen = voting_cell.mean_shift(ballot, 0.2)
  np.testing.assert_allclose(place, np.average(near, 0, np.exp(scores[:5])), atol=1e-3)
  np.testing.assert_allclose(seen, np.average(features[:5], 0, np.exp(scores[:5])), rtol=1e-2)


def test_after_a_refused_step_it_looks_elsewhere(model):
  cell, params = networks(model, 0.02)
  rng, image = np.random.default_rng(3), np.zeros((50, 50, 1))
  image[5:20, 5:20], image[30:45, 30:45] = rng.uniform(0.5, 1, (2, 15, 15, 1))

  def look(state, refused):
    size = np.float32(SIZE)
    seen = Seen(image, (), image, np.zeros(7), refused, size, size)
    state, found = cell.find(params, state, seen)
    return state, np.tanh(found.where.mean[1:])

  state, first = look(cell.initial_state(params), False)
  np.testing.assert_array_equal(look(state, False)[1], first)  # nothing has changed
  state, second = look(state, True)
  assert (np.sign(second) == -np.sign(first)).all()
  np.testing.assert_array_equal(look(state, False)[1], second)  # what was refused stays so


def test_parsing_puts_refused_objects_last_and_does_not_paint_them_for_later_steps(model):
  model, params, image, noise = samples.variant(model, cell='voting', max_steps=6)
  means = jax.tree.map(np.zeros_like, noise)
  # About half of the steps are refused.
  start = jax.jit(air.rollout)(model, params, image, means).presence_logits
  head = params['presence_head']
  output = head['output'] | {'bias': head['output']['bias'] - np.sort(start)[3] + 1e-3}
  params = params | {'presence_head': head | {'output': output}}
  latents, rolled = jax.jit(air.parse)(model, params, image)
  accepted = np.asarray(rolled.presence_logits) >= 0
  assert 0 < accepted.sum() < 6 and (np.sort(accepted)[::-1] == accepted).all()
  canvases = rolled.canvases[0] + np.cumsum([0 * image, *rolled.painted], axis=0)
  np.testing.assert_allclose(rolled.canvases, canvases, atol=1e-5)
  # The last accepted step saw what those before it have left, whatever was refused between.
  number = int(accepted.sum())
  cell, size = model.networks.cell, np.float32(SIZE)
  state, left = cell.initial_state(params), image - (canvases[number - 1] - canvases[0])
  found = cell.find(params, state, Seen(image, (), left, np.zeros(7), False, size, size))[1]
  nearest = np.abs(np.asarray(rolled.where.mean) - np.asarray(found.where.mean)).max(1).argmin()
  assert nearest >= number - 1
