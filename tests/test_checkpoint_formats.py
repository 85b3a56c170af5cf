"""Arrays of a checkpoint by name, and how those of version 0.1 become today's.

tests/data/states_0_1.json.gz has the names, types and shapes that version 0.1 wrote for some
configurations. tests/test_old_runs.py has a whole run, with values.
"""

import gzip
import json
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pytest

from air_jax.config import schema
from air_jax.configs import tiny
from air_jax.storage import checkpoint_formats as formats
from air_jax.training import population

OLD = json.loads(gzip.decompress(
  (pathlib.Path(__file__).parent / 'data' / 'states_0_1.json.gz').read_bytes()
))  # fmt: skip
SMALL = {
  'data.canvas_size': 20, 'data.max_objects': 1, 'data.train_scenes': 64,
  'model.glimpse_size': 5, 'model.code_size': 2, 'model.cell_size': 8, 'train.steps': 4,
}  # fmt: skip


def ones(*shape):
  return np.ones(shape, np.float32)


class State(NamedTuple):
  params: dict[str, Any]
  rest: list[Any]
  nothing: tuple[()] = ()


STATE = State({'b': {'kernel': ones(2), 'bias': ones()}, 'a': ones(3)}, [ones(4), (ones(5), None)])


def test_names_are_paths_and_lead_back_to_the_tree():
  arrays = formats.to_arrays(STATE)
  assert {name: x.shape for name, x in arrays.items()} == {
    'params/a': (3,), 'params/b/bias': (), 'params/b/kernel': (2,), 'rest/0': (4,), 'rest/1/0': (5,)
  }  # fmt: skip
  again = formats.from_arrays(jax.eval_shape(lambda: STATE), dict(reversed(arrays.items())))
  assert jax.tree.structure(again) == jax.tree.structure(STATE)
  assert all(x is y for x, y in zip(jax.tree.leaves(again), jax.tree.leaves(STATE), strict=True))


def test_orbax_is_given_dicts_of_the_same_names():
  arrays = formats.to_arrays(STATE)
  nested = formats.nest(arrays)
  assert nested['rest'] == {'0': arrays['rest/0'], '1': {'0': arrays['rest/1/0']}}
  assert formats.to_arrays(nested) == arrays


def test_a_part_can_be_read_by_itself():
  arrays = formats.to_arrays(STATE)
  assert formats.from_arrays({'rest': STATE.rest}, arrays) == {'rest': STATE.rest}


@pytest.mark.parametrize(
  'target',
  [
    {'params': {'a': ones(3)}},
    {'params': STATE.params | {'c': ones(1)}},
    {'params': STATE.params | {'a': ones(1)}},
    {'params': STATE.params | {'a': ones(3).astype(np.int32)}},
    {'average': STATE.params},
  ],
  ids=['less', 'more', 'other shape', 'other type', 'other name'],
)
def test_arrays_of_another_model_are_refused(target):
  with pytest.raises(ValueError, match='a checkpoint of another model'):
    formats.from_arrays(target, formats.to_arrays(STATE))


class OldState(NamedTuple):
  """As version 0.1 had it."""

  step: Any
  params: Any
  average: Any
  opt_state: Any


def test_the_first_digest_goes_by_the_tree_of_version_1():
  params = {'cell': [ones(1)] * 11, '_Dense_10': ones(2), '_Dense_2': ones(3)}
  chain = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(lambda step: 1e-3))
  parts = optax.partition({'a': chain}, dict.fromkeys(params, 'a'))
  old = OldState(ones(), params, params, optax.apply_if_finite(parts, 3).init(params))
  expected = [(jax.tree_util.keystr(path), leaf)
              for path, leaf in jax.tree_util.tree_leaves_with_path(old)]  # fmt: skip
  arrays = dict(sorted(formats.to_arrays(old).items()))
  assert list(formats.digest_order(arrays, 1)) == expected
  assert list(formats.digest_order(arrays, 2)) == list(arrays.items())


def numbered(arrays):
  """Each array filled with a number: a parameter's, which its average and moments share."""
  numbers: dict[str, int] = {}
  for name, (kind, *shape) in arrays.items():
    for place in ('params/', 'average/', '/mu/', '/nu/'):
      name = name.rpartition(place)[2]
    yield np.full(shape, numbers.setdefault(name, len(numbers)), kind)


@pytest.mark.parametrize('name', OLD)
def test_states_of_version_1_become_those_of_today(name):
  config = tiny.get_config()
  changes = {k: tuple(v) if isinstance(v, list) else v for k, v in OLD[name]['changes'].items()}
  config.update_from_flattened_dict(SMALL | changes)
  old = dict(zip(OLD[name]['arrays'], numbered(OLD[name]['arrays']), strict=True))
  target = population.shapes(population.build(schema.parse(config)))
  state = formats.from_arrays(target, formats.upgrade(old, 1))
  params = formats.to_arrays(state.params)
  # No two came from the same array, but for the two numbers of the size prior.
  assert len({number(x) for x in params.values()}) == len(params) - 1
  moments = 0
  for path, leaf in formats.to_arrays(state._replace(params=())).items():
    for place in ('average/', '/mu/', '/nu/'):
      if place in path:
        assert number(leaf) == number(params[path.rpartition(place)[2]]), path
        moments += 1
  assert moments == 3 * len(params)
  assert formats.upgrade(formats.to_arrays(state), 2) == formats.to_arrays(state)


def number(array):
  (value,) = np.unique(array)
  return float(value)


@pytest.mark.parametrize(
  'role, old, new',
  [
    ('attention', '_Dense_0', 'patches'),
    ('attention', '_Dense_1', 'near'),
    ('attention', '_Dense_2', 'narrow'),
    ('attention', '_Dense_3', 'far'),
    ('attention', '_Dense_4', 'score'),
    ('image_encoder', '_Dense_0', 'patches'),
    ('image_encoder', '_Dense_1', 'round_0_down'),
    ('image_encoder', '_Dense_2', 'round_0_across'),
    ('image_encoder', '_Dense_3', 'round_1_down'),
    ('image_encoder', '_Dense_4', 'round_1_across'),
    ('image_encoder', '_Mlp_0/_Dense_0', 'mlp/hidden_0'),
    ('location_head', '_Mlp_0/_Dense_0', 'hidden_0'),
    ('location_head', '_Mlp_0/_Dense_1', 'output'),
    ('glimpse_decoder', '_Dense_0', 'hidden_0'),
    ('glimpse_decoder', '_Dense_1', 'output'),
  ],
)
def test_layers_that_were_numbered_have_names(role, old, new):
  arrays = dict.fromkeys(OLD['residual']['arrays'], np.zeros(2))
  for what in ('kernel', 'bias'):
    arrays[f'params/{role}/{old}/{what}'] = what
  upgraded = formats.upgrade(arrays, 1)
  assert [upgraded[f'params/{role}/{new}/{what}'] for what in ('kernel', 'bias')] == [
    'kernel', 'bias'
  ]  # fmt: skip


def test_moving_averages_of_the_signal_leave_the_parameters():
  old = {'params/signal/centre': 1, 'params/signal/variance': 2, 'average/signal/centre': 3}
  old |= {'opt_state/inner_states/signal/inner_state/1/count': 4}
  assert formats.upgrade(old, 1) == {'estimator/mean': 1, 'estimator/variance': 2}


def test_the_size_prior_was_one_array():
  old = {f'{place}/size_change': np.array([[1.0, 2.0], [3.0, 4.0]])
         for place in ('params', 'opt_state/inner_states/model/inner_state/0/0/mu')}  # fmt: skip
  new = formats.upgrade(old, 1)
  for place in ('params', 'opt_state/inner_states/model/inner_state/0/mu'):
    np.testing.assert_array_equal(new[f'{place}/size_prior/mean_shift'], [1.0, 3.0])
    np.testing.assert_array_equal(new[f'{place}/size_prior/log_std_factor'], [2.0, 4.0])
