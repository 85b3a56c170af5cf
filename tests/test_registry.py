"""Estimators by name and by import path, and the messages for those that cannot be used."""

import inspect
import re

import pytest

from air_jax import objectives
from air_jax.errors import UserError
from air_jax.objectives import ESTIMATORS, resolve

MODULE = """
from air_jax.objectives import Estimator, exact

def halved(terms: object, key, smoothing: float = 0.0) -> float:
  return exact(terms, key, smoothing) / 2

def stateful(terms, key, smoothing, state):
  return exact(terms, key, smoothing), state + 1

def cooled(terms, key, smoothing, temperature):
  return temperature * exact(terms, key, smoothing)

def start(options):
  return 0.0

counted = Estimator(stateful, start, same_expectation_as='exact')
annealed = Estimator(cooled, temperature=True)

class Losses:
  inner = staticmethod(halved)

def two(terms, key):
  return 0.0

def named(terms, key, *, smoothing):
  return 0.0

number = 3
bare = Estimator(stateful)
stateless = Estimator(halved, start)
not_cooled = Estimator(halved, temperature=True)
no_loss = Estimator('exact')
no_init = Estimator(halved, init=3)
lazy_init = Estimator(stateful, init=lambda: 0.0)
follows = Estimator(halved, same_expectation_as='exakt')
follows_none = Estimator(halved, same_expectation_as=None)
many = Estimator(halved, particles=2.0)
negative = Estimator(halved, particles=-1)
truth = Estimator(halved, particles=True)
flagged = Estimator(halved, baseline='yes')
"""
CALLED = r'it is called as loss\(terms, key, smoothing'


@pytest.fixture(autouse=True)
def current_directory(tmp_path, monkeypatch):
  (tmp_path / 'my_losses.py').write_text(MODULE)
  (tmp_path / 'broken_losses.py').write_text('import no_such_module')
  (tmp_path / 'misspelt_losses.py').write_text('def loss(:')
  monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize('name', ESTIMATORS)
def test_a_known_name_is_its_entry(name):
  assert resolve(name) is ESTIMATORS[name]


@pytest.mark.parametrize('name', ESTIMATORS)
def test_the_table_says_what_each_loss_takes(name):
  estimator = ESTIMATORS[name]
  parameters = list(inspect.signature(estimator.loss).parameters)
  assert parameters[:3] == ['terms', 'key', 'smoothing']
  assert ('state' in parameters) == bool(estimator.init)
  assert ('temperature' in parameters) == estimator.temperature
  assert estimator.same_expectation_as in ('', *ESTIMATORS)


def test_a_function_or_an_estimator_is_found_in_the_current_directory(tmp_path):
  halved = resolve('my_losses:halved')
  assert halved == objectives.Estimator(halved.loss) and halved.loss.__name__ == 'halved'
  assert halved.loss.__code__.co_filename == str(tmp_path / 'my_losses.py')
  assert resolve('my_losses:Losses.inner') == halved
  counted = resolve('my_losses:counted')
  assert counted.init(None) == 0.0 and counted.same_expectation_as == 'exact'
  assert resolve('my_losses:annealed').temperature


@pytest.mark.parametrize(
  ('name', 'says'),
  (
    ('exakt', "'exakt' is not allowed; it must be one of exact, collapsed, .*module:attribute"),
    ('', "'' is not allowed; it must be one of exact, "),
    ('my_losses:', "'my_losses:' is not allowed; it must be .*module:attribute"),
    ('no_such_losses:loss', '.* cannot be imported: .*no_such_losses'),
    ('broken_losses:loss', '.* cannot be imported: .*no_such_module'),
    ('misspelt_losses:loss', '.* cannot be imported: .*misspelt_losses.py, line 1'),
    ('my_losses:other', ".* cannot be imported: .*my_losses.* no attribute 'other'"),
    ('my_losses:number', '.* gives 3; it must be a function or an Estimator'),
    ('my_losses:no_loss', ".* gives 'exact'; it must be a function or an Estimator"),
    ('my_losses:two', rf'.* has loss\(terms, key\); {CALLED}\)$'),
    ('my_losses:named', rf'.* has loss\(terms, key, \*, smoothing\); {CALLED}\)$'),
    ('my_losses:bare', rf'.* has loss\(terms, key, smoothing, state\); {CALLED}\)$'),
    ('my_losses:stateless', rf'.* has loss\(terms, key, smoothing=0.0\); {CALLED}, state\)$'),
    ('my_losses:not_cooled', rf'.* has loss\(.*\); {CALLED}, temperature=...\)$'),
    ('my_losses:lazy_init', r'.* has init\(\); it is called as init\(options\)$'),
    ('my_losses:no_init', '.* has init=3; it must be a function or None'),
    ('my_losses:follows', ".* has same_expectation_as='exakt'; it must be the name of an est"),
    ('my_losses:follows_none', '.* has same_expectation_as=None; it must be the name of an est'),
    ('my_losses:many', '.* has particles=2.0; it must be an integer >= 0'),
    ('my_losses:negative', '.* has particles=-1; it must be an integer >= 0'),
    ('my_losses:truth', '.* has particles=True; it must be an integer >= 0'),
    ('my_losses:flagged', ".* has baseline='yes'; it must be True or False"),
  ),
)
def test_what_is_no_estimator_is_refused_in_one_line(name, says):
  with pytest.raises(UserError) as caught:
    resolve(name)
  message = str(caught.value)
  assert re.match(f'objective.name={says}', message), message
  assert '\n' not in message
