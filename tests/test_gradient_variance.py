"""Measured statistics against gradients taken one by one, and what it says of known estimators."""

import json

import jax
import numpy as np
import pytest

from air_jax.config import schema as configuration
from air_jax.configs import tiny
from air_jax.errors import UserError
from air_jax.training import gradient_variance, train_step
from air_jax.types import LabelledScenes
from air_jax.viz import plots

pytestmark = pytest.mark.slow

NAMES = ['exact', 'reinforce', 'nvil', 'collapsed']


@pytest.fixture(scope='module')
def scenes():
  images = np.zeros((64, 20, 20, 1), np.uint8)
  images[:, 5:15, 5:15] = np.random.default_rng(0).integers(0, 256, (64, 10, 10, 1))
  return LabelledScenes(images, *(None for _ in range(7)))


@pytest.fixture(scope='module')
def learning():
  config = tiny.get_config()
  config.data.canvas_size = 20
  config.objective.update(name='exact', centre=True, smoothing=0.0)
  config.objective.update(prior_start=1.0, prior_end=1.0)
  return train_step.build(configuration.parse(config))


@pytest.fixture(scope='module')
def state(learning):
  """The presence head is undecided, so that counts vary."""
  state = jax.jit(train_step.init)(learning)
  state.params['presence_head']['output']['bias'] *= 0
  return state


@pytest.fixture(scope='module')
def summary(learning, state, scenes):
  return gradient_variance.measure(learning, state, scenes, 200, NAMES)


def test_figures_are_those_of_gradients_taken_one_by_one(summary, learning, state, scenes):
  keys = jax.random.split(jax.random.key(99), 400)

  @jax.jit
  def gradients(key):
    return train_step.gradient(learning, state.params, 0, scenes.images[:8], key)[0]

  taken = jax.lax.map(gradients, keys, batch_size=20)
  for part, networks in gradient_variance.PARTS.items():
    flat = [
      np.asarray(leaf, np.float64).reshape(400, -1)
      for network in networks
      for leaf in jax.tree.leaves(taken.get(network, {}))
    ]
    flat = np.concatenate(flat, 1)
    ours = summary['estimators']['exact']['parts'][part]
    np.testing.assert_allclose(ours['variance'], flat.var(0).mean(), rtol=0.25)
    noise = np.sqrt(flat.var(0).sum() / 200)
    norm = np.linalg.norm(flat.mean(0))
    assert abs(ours['norm'] - norm) < 3 * noise


def test_estimators_of_one_expectation_are_found_to_share_it(summary):
  assert summary['step'] == 0 and summary['images'] == 8 and summary['draws'] == 200
  for name in ('exact', 'reinforce', 'nvil'):
    measured = summary['estimators'][name]
    assert measured['unbiased'] and measured['reference'] == 'exact'
    for figures_of_part in measured['parts'].values():
      assert abs(figures_of_part['along'] - 1) < 4 * figures_of_part['along_error']
      assert figures_of_part['bias'] < 3 * figures_of_part['noise']
  other = summary['estimators']['collapsed']
  assert not other['unbiased']
  presence = other['parts']['presence head']
  assert presence['bias'] > 5 * presence['noise']


def test_a_baseline_is_taught_before_it_is_measured(summary):
  raw, based, exact = (
    summary['estimators'][name]['parts']['presence head']['variance']
    for name in ('reinforce', 'nvil', 'exact')
  )
  assert exact < 0.5 * based and based < 0.5 * raw


def test_summary_is_ready_for_json_and_shown_as_a_table_and_a_figure(summary):
  assert json.loads(json.dumps(summary)) == summary
  rows = [line.split() for line in gradient_variance.table(summary).splitlines()]
  presence = summary['estimators']['nvil']['parts']['presence head']
  assert ['nvil', f'{presence["variance"]:.2e}'] in [row[:2] for row in rows]
  assert ['collapsed', '*'] in [row[:2] for row in rows]
  panels = {axis.get_title(): axis for axis in plots.variance(summary).axes}
  assert [*panels] == [*gradient_variance.PARTS, 'time per gradient']
  first = panels['presence head']
  assert [label.get_text() for label in first.get_yticklabels()] == NAMES
  shown = {title: axis.lines[0].get_xdata() for title, axis in panels.items()}
  np.testing.assert_allclose(shown['presence head'][NAMES.index('nvil')], presence['variance'])
  milliseconds = [summary['estimators'][name]['milliseconds'] for name in NAMES]
  np.testing.assert_allclose(shown['time per gradient'], milliseconds)
  for axis in panels.values():
    low, high = axis.get_xlim()
    assert high / low >= 10 and all(low < x < high for x in axis.lines[0].get_xdata())


def test_unknown_estimators_and_too_few_scenes_are_refused(learning, state, scenes):
  with pytest.raises(
    UserError, match="objective.name='nvill' is not allowed; it must be one of exact, collapsed"
  ):
    gradient_variance.measure(learning, state, scenes, 10, ['exact', 'nvill'])
  few = scenes._replace(images=scenes.images[:8])
  with pytest.raises(UserError, match='8 held-out images are too few; more than 8'):
    gradient_variance.measure(learning, state, few, 10)
