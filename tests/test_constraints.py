"""Which values of a configuration are refused, and in which words."""

import math
import re

import pytest
import samples

from air_jax.config import schema as config_lib
from air_jax.configs import default
from air_jax.errors import UserError
from air_jax.objectives.registry import ESTIMATORS

WRONG_TYPES = {
  int: ('3', 2.0, None, True, (3,)),
  float: ('0.1', None, False, (0.1,)),
  bool: (1, 'yes', None),
  str: (1, None, ('a',)),
  tuple: (256, '256', None),
}


@pytest.mark.parametrize('kind', WRONG_TYPES)
def test_every_key_refuses_values_of_another_type(kind):
  keys = [key for key, value in config_lib.flatten(default.get_config()).items()
          if type(value) is kind]  # fmt: skip
  assert keys
  for key in keys:
    for value in WRONG_TYPES[kind]:
      config = samples.override(default.get_config(), **{key.replace('.', '__'): value})
      says = (
        rf'config\.{re.escape(key)}={re.escape(repr(value))} is not allowed; it must be of type \w'
      )
      with pytest.raises(UserError, match=says):
        config_lib.parse(config)


def test_whole_numbers_do_for_fractions_and_lists_for_layer_sizes(tiny_config):
  config = samples.override(tiny_config, train__learning_rate=1, model__encoder_sizes=[8, 8])
  parsed = config_lib.parse(config)
  assert parsed.train.learning_rate == 1
  assert parsed.model.encoder_sizes == (8, 8)
  hash(parsed)


INF, NAN = math.inf, math.nan
IMPOSSIBLE = {
  'seed': (-1, 2**32),
  'data.source': ('cifar', '', 'module:', 'my module:read'),
  'data.layout': ('heap',),
  'data.palette': ('grey', ''),
  'data.channel': ('yellow', '-1', '1.5', '²', '123456'),
  'data.levels': ((1,), (2, 1), (1, 1), (0, INF), (NAN, 1), (0, 1, 2), (False, True), ('0', '1')),
  'data.gamma': (0.0, -1.0, INF, NAN),
  'data.object_pixels': (-1.0, INF, NAN),
  'data.fit': ('stretch', ''),
  'data.canvas_size': (0, -50),
  'data.min_objects': (-1,),
  'data.max_objects': (0, -1, 2**16 - 1),
  'data.counts': ((0,), (1, 1), (-1, 2), (1.5,), (True,), (1, 2**16 - 1)),
  'data.min_scale': (0.0, -1.0, INF, NAN, 1e-60),
  'data.max_scale': (0.0, -1.0, INF, NAN),
  'data.background': ('latent', ''),
  'data.noise': (-0.1, 1.1, NAN),
  'data.train_scenes': (0, -1, 10**26),
  'data.test_scenes': (0, -1, 10**12),
  'data.seed': (-1,),
  'data.reading': ('lazy', ''),
  'data.resident_gb': (-0.1, INF, NAN),
  'data.workers': (-1, 1001),
  'model.max_steps': (0, -1, 2**31),
  'model.cell': ('gru', ''),
  'model.looks': (0, 33),
  'model.sweeps': (-1, 33),
  'model.compositing': ('under', ''),
  'model.background_degree': (-1, 3),
  'model.glimpse_size': (0, -1),
  'model.code_size': (0, 10**20),
  'model.cell_size': (0,),
  'model.patch_size': (-1,),
  'model.patch_features': (0,),
  'model.patch_rounds': (-1, 33),
  'model.encoder_sizes': ((), (0,), (16, -1), (2.5,), ('16',), (True,), (2**31,)),
  'model.presence_sizes': ((),),
  'model.location_sizes': ((),),
  'model.glimpse_encoder_sizes': ((),),
  'model.glimpse_decoder_sizes': ((),),
  'model.attention_heads': (0, -1),
  'model.background': ('texture', ''),
  'model.background_code_size': (0, -1),
  'model.background_grid': (1, 0),
  'model.background_sizes': ((), (0,)),
  'model.baseline_sizes': ((),),
  'model.likelihood_std': (0.0, -0.3, INF, NAN),
  'model.presence_bias': (INF, -INF, NAN, 1e39),
  'model.where_std_bias': (INF, NAN),
  'model.what_std_bias': (INF, NAN),
  'model.output_bias': (INF, NAN),
  'model.size_prior_mean': (0.0, 1.0, -0.1, 1.5, NAN, 1 - 1e-9),
  'model.size_prior_std': (0.0, -1.0, INF, NAN),
  'model.shift_prior_std': (0.0, -1.0, INF, NAN),
  'model.count_by': ('presences', ''),
  'model.likelihood': ('poisson', '', 'my module:make'),
  'model.networks': ('mine', 'my-module:build', ':build', 'module:'),
  'objective.name': ('elbow', '', 'module:'),
  'objective.particles': (0, -1),
  'objective.smoothing': (-0.1, 1.1, NAN),
  'objective.smoothing_hold': (-1,),
  'objective.final_smoothing': (-0.1, 1.1, NAN),
  'objective.smoothing_steps': (-1, 10**23),
  'objective.kl_warmup': (0.0, 1.1, NAN),
  'objective.kl_warmup_steps': (-1,),
  'objective.prior_start': (0.0, -0.1, INF, NAN),
  'objective.prior_end': (0.0, -0.1, INF, NAN),
  'objective.prior_steps': (-1, 3 * 10**9),
  'objective.temperature': (0.0, -1.0, INF, NAN),
  'objective.final_temperature': (0.0, -1.0, INF, NAN),
  'objective.temperature_steps': (-1,),
  'train.steps': (0, -1, 10**29),
  'train.batch_size': (0, -8),
  'train.learning_rate': (0.0, -1e-3, INF, NAN, 1e-60),
  'train.average': (-0.1, 1.0, NAN),
  'train.adam_b2': (-0.1, 1.0, NAN),
  'train.final_learning_rate': (-0.1, 1.1, NAN),
  'train.baseline_learning_rate': (0.0, -1.0, INF, NAN),
  'train.clip_norm': (-1.0, INF, NAN),
  'train.log_every': (0, -1),
  'train.eval_every': (0, -1),
  'train.stop_when': (-1,),
  'train.draw_every': (-1,),
  'train.checkpoint_every': (0, -1),
  'train.skip_not_finite': (-1,),
  'train.keep_checkpoints': (0, -1),
  'train.keep_every': (-1,),
  'train.keep_best': (-1,),
  'train.population': (0, -1),
  'train.success': (-0.1, 1.1, NAN),
  'members.learning_rate': ((1e-3, 1e-3), (0.0,), (INF,), ('a',)),
  'members.likelihood_std': ((0.3, 0.3), (0.0,), (-0.3,)),
  'members.presence_bias': ((1.0, 1.0), (NAN,), (None,)),
  'members.where_std_bias': ((1.0, 1.0), (INF,)),
  'members.what_std_bias': ((1.0, 1.0), (INF,)),
  'members.output_bias': ((1.0, 1.0), (INF,), (True,)),
  'members.size_prior_mean': ((0.5, 0.5), (0.0,), (1.0,)),
  'members.size_prior_std': ((0.1, 0.1), (0.0,), (INF,)),
}


@pytest.mark.parametrize('key', IMPOSSIBLE)
def test_impossible_values_are_refused_with_key_and_value(key):
  for value in IMPOSSIBLE[key]:
    config = samples.override(default.get_config(), **{key.replace('.', '__'): value})
    says = rf'config\.{re.escape(key)}={re.escape(repr(value))} is not allowed; it must be \w'
    with pytest.raises(UserError, match=says):
      config_lib.parse(config)


@pytest.mark.parametrize('digits', [400, 5000])
@pytest.mark.parametrize('key', ['train.steps', 'train.learning_rate', 'members.output_bias'])
def test_numbers_of_many_digits_are_refused_in_a_short_line(key, digits):
  value = (10**digits,) if key.startswith('members.') else 10**digits
  config = samples.override(default.get_config(), **{key.replace('.', '__'): value})
  with pytest.raises(UserError, match=rf'config\.{key}=.* is not allowed') as caught:
    config_lib.parse(config)
  assert len(str(caught.value)) < 400


def test_table_of_impossible_values_leaves_out_only_keys_that_allow_any():
  left_out = config_lib.flatten(default.get_config()).keys() - IMPOSSIBLE.keys()
  assert left_out == {
    'data.mnist_dir',
    'data.omniglot_dir',
    'data.dir',
    'data.counts_csv',
    'data.stretch',
    'data.invert',
    'data.strict',
    'data.cache_dir',
    'data.colour',
    'data.online',
    'model.residual',
    'model.learn_size_prior',
    'model.learn_likelihood_std',
    'objective.centre',
    'objective.normalise',
    'objective.sampled_kl',
    'objective.sleep',
  }


def test_values_at_the_border_are_accepted():
  config = samples.override(
    default.get_config(), data__min_objects=2, data__canvas_size=20, data__train_scenes=64,
    data__test_scenes=1, train__log_every=1, train__steps=1, objective__smoothing=0.0,
    objective__smoothing_hold=0, objective__smoothing_steps=0,
    objective__kl_warmup_steps=0, objective__prior_steps=0,
    train__final_learning_rate=0.0, train__clip_norm=0.0, train__adam_b2=0.0,
    model__max_steps=1, model__patch_size=0, data__min_scale=0.5, data__max_scale=0.5,
    data__noise=0.0, data__resident_gb=0.0, data__workers=0,
    model__attention_heads=1, model__background_grid=2, model__background_code_size=1,
  )  # fmt: skip
  config_lib.parse(config)
  config_lib.parse(
    samples.override(config, objective__smoothing=1.0, train__final_learning_rate=1.0)
  )
  config_lib.parse(samples.override(config, data__noise=1.0))


@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('data.source', 'my_package.scenes:read'),
    ('model.likelihood', 'my_module:Likelihoods.poisson'),
    ('model.networks', 'my_module:build'),
  ],
)
def test_import_paths_are_checked_by_form_alone(key, value):
  changes = {key.replace('.', '__'): value}
  parsed = config_lib.parse(samples.override(default.get_config(), **changes))
  assert config_lib.to_flat(parsed)[key] == value


@pytest.mark.parametrize(
  ('key', 'names'),
  [
    (
      'data.source',
      [
        'digits',
        'pen_digits',
        'mnist',
        'omniglot',
        'tetrominoes',
        'sprites',
        'dsprites',
        'table_primitives',
        'folder',
        'arrays',
        'module:attribute',
      ],
    ),
    ('data.layout', ['disjoint', 'adjacent', 'touching', 'occluding']),
    ('data.fit', ['crop', 'pad', 'squash']),
    ('data.palette', ['bright', 'uniform']),
    ('data.background', ['black', 'grey', 'gradient', 'texture', 'level', 'colour']),
    ('model.compositing', ['add', 'over', 'depth']),
    ('data.reading', ['auto', 'resident', 'stream']),
    ('model.background', ['black', 'constant', 'latent']),
    ('model.likelihood', ['gaussian', 'student', 'bernoulli', 'module:attribute']),
    ('objective.name', [*ESTIMATORS, 'module:attribute']),
  ],
)
def test_unknown_names_list_the_known(key, names):
  config = samples.override(default.get_config(), **{key.replace('.', '__'): 'nonsense'})
  with pytest.raises(UserError) as caught:
    config_lib.parse(config)
  for name in names:
    assert repr(name) in str(caught.value)
