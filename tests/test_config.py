"""Configurations: what is accepted, what is refused and in which words, how they are kept."""

import dataclasses
import importlib
import pathlib
import re

import pytest
import samples
from ml_collections import ConfigDict

from air_jax.config import schema as config_lib
from air_jax.configs import default
from air_jax.errors import UserError
from air_jax.objectives.registry import ESTIMATORS

CONFIGS = pathlib.Path(__file__).parent.parent / 'configs'
NAMES = sorted(path.stem for path in CONFIGS.glob('*.py'))


def get(name):
  return importlib.import_module(f'configs.{name}').get_config()


@pytest.mark.parametrize('name', NAMES)
def test_every_file_in_configs_is_accepted_and_its_values_arrive(name):
  given = get(name)
  parsed = config_lib.parse(given)
  assert hash(parsed) == hash(config_lib.parse(get(name)))  # jit takes it as a static argument
  flat = config_lib.flatten(dataclasses.asdict(parsed))
  assert flat.pop('model.canvas_size') == given.data.canvas_size
  assert flat.pop('model.channels') == (3 if given.data.colour else 1)
  assert flat.pop('model.baseline') == ESTIMATORS[given.objective.name].baseline
  assert flat.pop('model.success') == given.objective.prior_end
  for name in ('centre', 'normalise'):
    assert flat.pop(f'model.{name}') == given.objective[name]
  if given.model.background != 'latent':
    assert flat.pop('model.background_code_size') == 0
    del given.model.background_code_size
  assert flat == config_lib.flatten(given)


@pytest.mark.parametrize('name', NAMES)
def test_variants_have_the_keys_of_the_default(name):
  assert config_lib.flatten(get(name)).keys() == config_lib.flatten(default.get_config()).keys()


def test_there_is_a_baseline_where_an_objective_learns_one(tiny_config):
  for name in ESTIMATORS:
    tiny_config.objective.name = name
    baseline = config_lib.parse(tiny_config).model.baseline
    assert baseline == (name in ('nvil', 'nvil_to_go', 'iwae'))


def test_there_are_channels_for_colour_and_a_code_for_a_latent_background_alone(tiny_config):
  tiny_config.data.canvas_size = 40
  tiny_config.model.background_code_size = 5
  for colour, channels in ((False, 1), (True, 3)):
    for background, size in (('black', 0), ('constant', 0), ('latent', 5)):
      tiny_config.data.colour, tiny_config.model.background = colour, background
      model = config_lib.parse(tiny_config).model
      assert (model.canvas_size, model.channels, model.background_code_size) == (40, channels, size)


@pytest.mark.parametrize(
  ('mistyped', 'nearest'),
  [
    ('sede', 'seed'),
    ('train__stpes', 'train.steps'),
    ('model__glimps_size', 'model.glimpse_size'),
    ('objective__kl_warmup_step', 'objective.kl_warmup_steps'),
    ('data__canvassize', 'data.canvas_size'),
  ],
)
def test_unknown_key_names_the_nearest(tiny_config, mistyped, nearest):
  section, _, key = mistyped.rpartition('__')
  (tiny_config[section] if section else tiny_config)[key] = 1
  given = re.escape(mistyped.replace('__', '.'))
  with pytest.raises(UserError, match=rf"unknown config key '{given}'; .*'{re.escape(nearest)}'\?"):
    config_lib.parse(tiny_config)


def test_unknown_section_is_named(tiny_config):
  tiny_config.trian = ConfigDict({'steps': 3})
  with pytest.raises(UserError, match=r"'trian\.steps'; did you mean 'train\.steps'\?"):
    config_lib.parse(tiny_config)


def test_missing_key_is_named(tiny_config):
  del tiny_config.train.steps
  with pytest.raises(UserError, match=r'lacks train\.steps;'):
    config_lib.parse(tiny_config)


def test_section_replaced_by_a_value_is_refused(tiny_config):
  with pytest.raises(UserError, match=r"'model'; did you mean"):
    config_lib.parse(samples.override(tiny_config, model=3))


@pytest.mark.parametrize('name', NAMES)
def test_json_gives_back_the_same_configuration(name):
  given = get(name)
  back = config_lib.from_json(config_lib.to_json(given))
  assert config_lib.changed_keys(given, back) == []
  assert config_lib.parse(back) == config_lib.parse(given)
  for key, value in config_lib.flatten(given).items():
    assert type(config_lib.flatten(back)[key]) is type(value), key


def test_changed_keys_are_those_that_differ_are_new_or_gone(tiny_config):
  other = samples.override(
    tiny_config, seed=7, train__steps=21,
    model__encoder_sizes=(16, 16), data__new=1,
  )  # fmt: skip
  del other.model.residual
  changed = ['data.new', 'model.encoder_sizes', 'model.residual', 'seed', 'train.steps']
  assert config_lib.changed_keys(tiny_config, other) == changed
  assert config_lib.changed_keys(other, tiny_config) == changed
  assert config_lib.changed_keys(tiny_config, tiny_config) == []


def test_every_key_of_the_default_has_a_comment():
  """Beside it or on the line above; of a run of layer sizes the first one's does for all."""
  commented, above = set(), ''
  for line in (CONFIGS / 'default.py').read_text().splitlines():
    if match := re.fullmatch(r'  (\w+)\.(\w+) = ([^#]*?)(?:  # (.+))?', line):
      section, key, _, comment = match.groups()
      assert comment or above.startswith('  # ') or key.endswith('_sizes'), line
      commented.add(key if section == 'config' else f'{section}.{key}')
    above = line
  assert commented == config_lib.flatten(default.get_config()).keys()
