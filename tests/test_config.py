"""Configurations: what is accepted, what is refused and in which words, how they are kept."""

import dataclasses
import importlib
import json
import pathlib
import re

import pytest
import samples
from ml_collections import ConfigDict

from air_jax.cli import help_text
from air_jax.config import saved_configs
from air_jax.config import schema as config_lib
from air_jax.config.sections import ModelSpec
from air_jax.configs import default
from air_jax.errors import UserError
from air_jax.objectives.registry import ESTIMATORS

CONFIGS = pathlib.Path(__file__).parent.parent / 'configs'
NAMES = sorted(path.stem for path in CONFIGS.glob('*.py') if path.stem != '__init__')


def get(name):
  return importlib.import_module(f'configs.{name}').get_config()


@pytest.mark.parametrize('name', NAMES)
def test_every_file_in_configs_is_accepted_and_its_values_arrive(name):
  given = get(name)
  parsed = config_lib.parse(given)
  assert hash(parsed) == hash(config_lib.parse(get(name)))  # jit takes it as a static argument
  flat = config_lib.flatten(dataclasses.asdict(parsed))
  assert flat.pop('model.canvas_size') == given.data.canvas_size
  assert flat.pop('model.reference_size') == given.data.canvas_size
  assert flat.pop('model.channels') == (3 if given.data.colour else 1)
  assert flat.pop('model.baseline') == ESTIMATORS[given.objective.name].baseline
  assert flat.pop('model.success') == given.objective.prior_end
  if given.model.background != 'latent':
    sizes = {
      'multi_dsprites_coloured': 3,
      'folder': 3,
      'table_primitives': 1,
      'inverse_graphics': 1,
    }
    size = sizes.get(name, 0)
    assert flat.pop('model.background_code_size') == size
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


def test_there_are_channels_for_colour_and_a_code_for_a_background_of_each_scene(tiny_config):
  tiny_config.data.canvas_size = 40
  tiny_config.model.background_code_size, tiny_config.model.background_degree = 5, 2
  for colour, channels in ((False, 1), (True, 3)):
    sizes = {'black': 0, 'constant': 0, 'latent': 5, 'polynomial': 6 * channels}
    for background, size in sizes.items():
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
  back = saved_configs.from_json(saved_configs.to_json(given))
  assert saved_configs.changed_keys(given, back) == []
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
  assert saved_configs.changed_keys(tiny_config, other) == changed
  assert saved_configs.changed_keys(other, tiny_config) == changed
  assert saved_configs.changed_keys(tiny_config, tiny_config) == []


def saved(config):
  """A configuration as the dict that config.json holds."""
  return json.loads(saved_configs.to_json(config))


@pytest.fixture
def old_config(tiny_config):
  """The same as version 0.1.0 saved it."""
  tree = saved(tiny_config)
  for key in saved_configs.ADDED:
    section, _, name = key.rpartition('.')
    del tree[section][name]
  return tree


def test_configuration_of_an_earlier_version_means_what_it_did(tiny_config, old_config):
  assert {'likelihood', 'networks'}.isdisjoint(old_config['model'])
  back = saved_configs.from_json(json.dumps(old_config))
  assert (back.model.likelihood, back.model.networks) == ('gaussian', '')
  assert config_lib.parse(back) == config_lib.parse(tiny_config)
  assert saved_configs.changed_keys(back, tiny_config) == []
  tree = tiny_config.to_dict()
  del tree['model']['networks'], tree['model']['likelihood']
  assert saved_configs.changed_keys(ConfigDict(tree), tiny_config) == []
  tiny_config.model.likelihood = 'bernoulli'
  assert saved_configs.changed_keys(back, tiny_config) == ['model.likelihood']


def test_every_added_key_is_a_key_that_has_its_value_by_default():
  assert saved_configs.ADDED.items() <= config_lib.flatten(default.get_config()).items()


def test_saved_keys_of_a_later_version_are_named(tiny_config):
  tiny_config.model.sparkle = 1
  tiny_config.traits = ConfigDict({'size': 3})
  says = (
    r'^runs/x/config\.json has keys that air_jax \S+ does not know: model\.sparkle, traits\.size;'
  )
  with pytest.raises(UserError, match=says):
    saved_configs.from_json(saved_configs.to_json(tiny_config), 'runs/x/config.json')


def test_saved_configuration_without_a_key_that_was_always_there_names_it(tiny_config):
  del tiny_config.train.steps
  with pytest.raises(UserError, match=r'lacks train\.steps,'):
    saved_configs.from_json(saved_configs.to_json(tiny_config))


@pytest.mark.parametrize(
  'text',
  ['', '[]', '3', 'null', '"x"', '{"seed": 0', '{"seed": 0}', 2000 * '[', 100_000 * '{"a":'],
  ids=lambda text: text[:10],
)
def test_nonsense_is_no_configuration(text):
  with pytest.raises(ValueError, match=r'.') as caught:
    saved_configs.from_json(text)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('section', config_lib.SECTIONS)
@pytest.mark.parametrize('value', [[], [1, 2], 3, None, 'x'], ids=repr)
def test_sections_that_are_none_are_refused(tiny_config, section, value):
  text = json.dumps(saved(tiny_config) | {section: value})
  with pytest.raises(ValueError, match=f"it holds no section '{section}'"):
    saved_configs.from_json(text)


def test_values_of_any_form_are_refused_in_one_sentence(tiny_config):
  for value in ({'a': 1}, {}, [[1]], None, [None, {'b': 2}]):
    tree = saved(tiny_config)
    tree['model']['encoder_sizes'] = value
    with pytest.raises(UserError, match=r'model\.encoder_sizes'):
      config_lib.parse(saved_configs.from_json(json.dumps(tree)))
  with pytest.raises((ValueError, UserError), match='dots'):
    saved_configs.from_json(json.dumps(saved(tiny_config) | {'model.networks': ''}))


def test_every_key_of_the_default_has_a_comment_and_help_shows_its_value():
  flat, described = config_lib.flatten(default.get_config()), help_text.keys()
  assert flat.keys() == described.keys() == config_lib.KEYS.keys()
  for key, (value, comment) in described.items():
    assert comment and eval(value) == flat[key], key


def test_base_class_of_a_section_takes_its_part(tiny_config):
  model = config_lib.parse(tiny_config).model
  spec = config_lib.base(ModelSpec, model)
  assert type(spec) is ModelSpec and hash(spec)
  other = dataclasses.replace(model, likelihood_std=0.9)
  assert config_lib.base(ModelSpec, other) == spec
