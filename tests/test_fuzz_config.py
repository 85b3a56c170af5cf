"""Any value at any key of a configuration is accepted, or refused with a `UserError`."""

import contextlib

import mutations
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict

from air_jax.cli import command_line, main
from air_jax.config import saved_configs, schema
from air_jax.config.flat import flatten
from air_jax.configs import tiny
from air_jax.errors import UserError
from air_jax.storage import run_dir

TREE = tiny.get_config().to_dict()
KEYS = [*flatten(TREE)]
HUGE = st.sampled_from([10**400, -(10**400), 10**5000, 2**31, 2**32, 2**63, 1e308, 1e-320])
PYTHON = st.one_of(
  mutations.VALUES, HUGE, st.tuples(HUGE | mutations.SIMPLE), st.binary(max_size=3),
  st.sampled_from([object(), int, 1j, {1, 2}, range(3), b'', ConfigDict({'a': 1}), (), ((),)]),
  st.sampled_from(['\0', '\ud800', '\udcff', 'a:b', 'x' * 10_000]),
)  # fmt: skip


def parsed_or_refused(config):
  """Parses a configuration; checks that a refusal is one line of a sensible length."""
  try:
    return schema.parse(config)
  except UserError as error:
    assert '\n' not in str(error) and len(str(error)) < 3000, error
    return None


@mutations.examples()
@given(st.data())
def test_values_of_any_kind(data):
  tree = tiny.get_config().to_dict()
  for _ in range(data.draw(st.integers(1, 3))):
    section, _, name = data.draw(st.sampled_from(KEYS)).rpartition('.')
    (tree[section] if section else tree)[name] = data.draw(PYTHON)
  try:
    config = ConfigDict(tree)
  except ValueError:  # it refuses some keys
    return
  parsed_or_refused(config)


ANY_KEY = st.one_of(st.sampled_from(['data', 'model', 'a', '', '__class__', '\ud800', 'a' * 5000]),
                    st.text(max_size=5), st.integers(), st.none(), st.booleans())  # fmt: skip


@mutations.examples()
@given(st.data())
def test_keys_that_are_missing_or_too_many(data):
  config = ConfigDict(tiny.get_config().to_dict())
  for _ in range(data.draw(st.integers(1, 3))):
    section = data.draw(st.sampled_from(['', 'data', 'model', 'objective', 'train', 'members']))
    place = config[section] if section and section in config else config
    if not isinstance(place, ConfigDict):
      continue
    key, value, known = data.draw(ANY_KEY), data.draw(PYTHON), st.sampled_from([*place.keys()])
    with place.unlocked(), place.ignore_type():
      if data.draw(st.booleans()):
        del place[data.draw(known)]
        continue
      with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
        place[key] = value  # ConfigDict refuses some keys
    if not isinstance(key, str):
      break  # it cannot list its keys any more
  parsed_or_refused(config)


TEXTS = st.one_of(
  st.sampled_from(mutations.ODD), mutations.VALUES.map(repr), st.text(max_size=12),
  st.sampled_from(['(' * 300, '(' * 20_000, '-' * 5000 + '1', '1' * 5000, '9e9999', '(1,', '[1]',
                   '((1,),)', '(1, "a")', 'None', '...', "b'a'", '__import__("os")', '{1: 2}',
                   '(1,) * 9', '0x' + 'f' * 9000, '1_0', '\0', '(\0)', '1j', '+1', ' 1']),
)  # fmt: skip


@mutations.examples(2)
@given(
  st.lists(st.tuples(st.sampled_from(KEYS) | st.text(max_size=5), TEXTS), min_size=1, max_size=3),
  st.sampled_from(['', '', '', 'no']),
)
def test_any_text_for_any_key_on_the_command_line(given, no):
  values = main.define_flags()
  argv = ['air-jax', '--config=tiny', *(f'--{no}config.{key}={text}' for key, text in given)]
  try:
    command_line.parse(argv, values)
  except UserError as error:
    assert '\n' not in str(error)
    return
  parsed_or_refused(values.config)


@mutations.examples(2)
@given(st.lists(st.text(max_size=8) | TEXTS, max_size=2), st.sampled_from(['=', ' ', '.a=', '.']))
def test_any_text_on_the_command_line(texts, sign):
  argv = ['air-jax', '--config=tiny', *(f'--config{sign}{text}' for text in texts)]
  try:
    command_line.parse(argv, main.define_flags())
  except UserError as error:
    assert '\n' not in str(error)


@mutations.examples()
@given(mutations.damaged_document(TREE))
def test_a_damaged_config_json(tmp_path, content):
  (tmp_path / 'config.json').write_bytes(content)
  try:
    config = run_dir.load_config(tmp_path)
  except UserError as error:
    assert 'config.json' in str(error)
    return
  if parsed_or_refused(config):
    again = saved_configs.from_json(saved_configs.to_json(config))
    assert saved_configs.changed_keys(config, again) == []
