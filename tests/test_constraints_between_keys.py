"""Values of a configuration that are refused together with those of other keys."""

import re

import pytest
import samples

from air_jax.config import schema as config_lib
from air_jax.configs import default
from air_jax.errors import UserError
from air_jax.objectives import registry
from air_jax.objectives.registry import ESTIMATORS


@pytest.mark.parametrize(
  ('key', 'value', 'limit'),
  [
    ('model.glimpse_size', 51, 'data.canvas_size=50'),
    ('model.patch_size', 51, 'data.canvas_size=50'),
    ('data.min_objects', 3, 'data.max_objects=2'),
    ('data.min_scale', 1.5, 'data.max_scale=1.0'),
    ('train.batch_size', 60_001, 'data.train_scenes=60000'),
  ],
)
def test_values_too_large_for_another_key_are_refused_naming_both(key, value, limit):
  config = samples.override(default.get_config(), **{key.replace('.', '__'): value})
  says = rf'config\.{re.escape(key)}={value} .* at most {re.escape(limit)}$'
  with pytest.raises(UserError, match=says):
    config_lib.parse(config)


def test_attention_needs_patches():
  config = samples.override(default.get_config(), model__residual=True, model__patch_size=0)
  says = r'config\.model\.patch_size=0 .* greater than 0 with model\.residual=True$'
  with pytest.raises(UserError, match=says):
    config_lib.parse(config)


@pytest.mark.parametrize('name', ['vimco', 'vimco_arithmetic', 'rws'])
def test_comparing_roll_outs_needs_two_roll_outs(name):
  config = samples.override(default.get_config(), objective__name=name, objective__particles=1)
  with pytest.raises(UserError, match=r'config\.objective\.particles=1 .* at least 2 with'):
    config_lib.parse(config)
  config_lib.parse(samples.override(config, objective__particles=2))
  config_lib.parse(samples.override(config, objective__name='iwae', objective__particles=1))


def test_only_wake_sleep_sleeps():
  config = samples.override(default.get_config(), objective__sleep=True)
  with pytest.raises(UserError, match=r"config\.objective\.sleep=True is .* 'rws'$"):
    config_lib.parse(config)
  config_lib.parse(samples.override(config, objective__name='rws'))


@pytest.mark.parametrize(('key', 'value'), [('data.online', True), ('data.reading', 'stream')])
def test_own_images_are_neither_composed_nor_streamed(key, value):
  changes = {key.replace('.', '__'): value}
  config_lib.parse(samples.override(default.get_config(), **changes))
  says = rf"config\.{re.escape(key)}={value!r} .* with data\.source='folder'"
  with pytest.raises(UserError, match=says):
    config_lib.parse(samples.override(default.get_config(), data__source='folder', **changes))


def test_solids_on_a_table_hide_each_other():
  config = samples.override(default.get_config(), data__source='table_primitives')
  says = r"config\.data\.layout='disjoint' .* 'occluding' with data\.source='table_primitives'$"
  with pytest.raises(UserError, match=says):
    config_lib.parse(config)
  config_lib.parse(samples.override(config, data__layout='occluding'))


def test_estimator_of_ones_own_is_asked_what_it_needs(monkeypatch):
  own = ESTIMATORS['nvil']._replace(particles=3)
  monkeypatch.setattr(registry, 'resolve', {'mine:loss': own}.__getitem__, raising=False)
  config = samples.override(default.get_config(), objective__name='mine:loss')
  assert config_lib.parse(config).model.baseline
  config.objective.particles = 2
  with pytest.raises(
    UserError, match=r"particles=2 .* at least 3 with objective\.name='mine:loss'"
  ):
    config_lib.parse(config)
