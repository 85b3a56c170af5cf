"""The end of a run at a plateau of its evaluations."""

import json
import signal

import pytest
import run_folder

from air_jax import api
from air_jax.callbacks import Callback
from air_jax.config import schema
from air_jax.errors import Interrupted
from air_jax.evaluation import held_out
from air_jax.training import loop, plateau, population

IMAGES = 1000
RISING = [(1.0, 10.0 * k) for k in range(8)]  # (accuracy, bound) at every evaluation


def plateau_of(config, stop_when, every=10, steps=1000):
  config.train.update(stop_when=stop_when, eval_every=every, steps=steps)
  return plateau.Plateau(schema.parse(config).train, IMAGES)


def decided(rule, evaluations, every=10):
  """(the evaluation that decided the end, from 1, or None; the end)."""
  for number, (accuracy, bound) in enumerate(evaluations, 1):
    scalars = {'elbo': bound} if accuracy is None else {'elbo': bound, 'count_accuracy': accuracy}
    if rule.add(number * every, {0: scalars}):
      return number, rule.end
  return None, rule.end


@pytest.mark.parametrize(
  'evaluations, number',
  [
    (RISING, None),
    ([(0.9, 0.0), (0.9, 100.0), (0.9, 104.0)], 3),  # 4 of 104 is less than a twentieth
    ([(0.9, 0.0), (0.9, 100.0), (0.9, 106.0)], None),
    ([(0.9, -1000.0), (0.9, -900.0), (0.9, -896.0)], 3),  # whatever the level of the bound is
    ([(0.9, 0.0), (0.91, 0.0)], 2),  # of 1,000 images 1 % more is chance
    ([(0.9, 0.0), (0.93, 0.0)], None),
    ([(0.9, 0.0), (0.93, 0.0), (0.9, -5.0)], 3),  # worse than before is no improvement either
    ([(0.9, 0.0), (0.5, -50.0), (0.9, 0.0)], 2),
    ([(None, 0.0), (None, 50.0), (None, 51.0)], 3),  # counts need not be known
    ([(0.9, 0.0)], None),
  ],
)
def test_an_evaluation_that_is_no_better_decides_the_end(tiny_config, evaluations, number):
  end = 1000 if number is None else 10 * number + 10
  assert decided(plateau_of(tiny_config, 1), evaluations) == (number, end)


def test_as_many_in_a_row_as_asked_for(tiny_config):
  flat, better = (0.9, 0.0), (0.99, 0.0)
  evaluations = [flat, flat, better, better, better, better]
  assert decided(plateau_of(tiny_config, 2), evaluations) == (5, 60)
  assert decided(plateau_of(tiny_config, 3), evaluations) == (6, 70)
  assert decided(plateau_of(tiny_config, 4), evaluations) == (None, 1000)
  assert decided(plateau_of(tiny_config, 0), evaluations) == (None, 1000)


def test_a_run_makes_no_more_steps_than_it_has(tiny_config):
  assert decided(plateau_of(tiny_config, 1, steps=25), [(0.9, 0.0), (0.9, 0.0)]) == (None, 25)


def test_the_last_member_to_reach_a_plateau_decides(tiny_config):
  rule = plateau_of(tiny_config, 1)
  flat = {'elbo': 0.0}
  assert not rule.add(10, dict.fromkeys(range(3), flat))
  assert not rule.add(20, {0: flat, 1: {'elbo': 5.0}, 2: flat})
  assert not rule.add(30, {0: {'elbo': 5.0}, 1: {'elbo': 5.0}})  # member 2 has diverged
  assert rule.add(40, {0: flat, 1: flat}) and rule.end == 50
  assert not rule.add(50, {0: flat, 1: flat}) and rule.end == 50


@pytest.fixture
def evaluations(monkeypatch):
  """Replaces the evaluation of members: at step s the bound is what the function says of s."""
  bound = {'of': lambda step, seed: 0.0}

  def evaluate(model, params, scenes, seed, step):
    summary = dict.fromkeys(('nll', 'kl', 'reconstruction_mse'), 1.0)
    summary |= {'step': step, 'images': 64, 'predicted_counts': [64, 0, 0, 0]}
    return 'evaluation', summary | {'elbo': float(bound['of'](step, seed))}

  monkeypatch.setattr(held_out, 'evaluate', evaluate)
  monkeypatch.setattr(held_out, 'compile_ahead', lambda *_: None)
  monkeypatch.setattr(held_out, 'posteriors', lambda _: {})
  return bound


class Looker(Callback):
  """What is said, and the steps that are called the last."""

  def __init__(self):
    self.said, self.last = [], []

  def on_message(self, text):
    self.said.append(text)

  def on_snapshot(self, snapshot):
    self.last += [snapshot.step] if snapshot.last else []


def train(config, folder):
  looker = Looker()
  api.train(config, folder, figures=False, progress=False, callbacks=[looker])
  return looker


def evaluated_at(folder):
  return [line['step'] for line in run_folder.lines_of(folder, 'test')]


@pytest.fixture
def stopping(run_config):
  """A configuration that is evaluated every 5 steps and stops at a plateau."""
  run_config.train.update(steps=100, eval_every=5, checkpoint_every=10, stop_when=1)
  return run_config


def test_a_run_ends_at_a_plateau_says_so_and_has_nothing_to_do(stopping, tmp_path, evaluations):
  evaluations['of'] = lambda step, seed: min(step, 10.0)
  looker = train(stopping, tmp_path)
  assert looker.said[-1] == (
    'step      15: at a plateau (train.stop_when=1); the run ends at step 20'
  )
  assert evaluated_at(tmp_path) == [5, 10, 15, 20] and looker.last == [20]
  assert run_folder.checkpoints_of(tmp_path) == [10, 20]
  says = 'nothing to do: step 20 is reached; it is at a plateau; set train.stop_when=0 to go on'
  assert train(stopping, tmp_path).said == [says]
  stopping.train.stop_when = 0
  assert train(stopping, tmp_path).last == [100] and evaluated_at(tmp_path)[-1] == 100


@pytest.mark.parametrize('chunk', [2, 3])
def test_a_run_that_was_interrupted_ends_where_it_would_have(
  stopping, tmp_path, evaluations, monkeypatch, chunk
):
  evaluations['of'] = lambda step, seed: min(step, 10.0)
  train(stopping, tmp_path / 'whole')
  advance, calls = population.advance, []

  def interrupted(*args):
    calls.append(args)
    result = advance(*args)
    if len(calls) == chunk:
      signal.raise_signal(signal.SIGTERM)
    return result

  with monkeypatch.context() as patch:
    patch.setattr(population, 'advance', interrupted)
    with pytest.raises(Interrupted):
      train(stopping, tmp_path / 'broken')
  train(stopping, tmp_path / 'broken')
  run_folder.assert_same_end(tmp_path / 'broken', tmp_path / 'whole')
  whole, broken = (run_folder.lines_of(tmp_path / name) for name in ('whole', 'broken'))
  assert whole == broken


def test_a_population_ends_once_all_its_members_are_at_a_plateau(stopping, tmp_path, evaluations):
  stopping.train.population = 2
  evaluations['of'] = lambda step, seed: min(step, 10.0 if seed == stopping.seed else 20.0)
  looker = train(stopping, tmp_path)
  assert looker.last == [30, 30]
  assert json.loads((tmp_path / 'evaluation.json').read_text())['step'] == 30
  assert 'nothing to do: step 30' in train(stopping, tmp_path).said[0]


def test_only_runs_that_are_asked_to_do_end_early(stopping, tmp_path, evaluations):
  stopping.train.update(stop_when=0, steps=25)
  assert train(stopping, tmp_path).last == [25]
  assert loop.train(stopping, tmp_path)['step'] == 25
