"""Populations: each member is the run it would be by itself, whatever becomes of the others."""

import json
import os
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
import run_folder

from air_jax import api
from air_jax.cli.evaluate import evaluate_run
from air_jax.config import schema as config_lib
from air_jax.data import loading
from air_jax.errors import DivergenceError, UserError
from air_jax.evaluation import held_out, population_summary, tables
from air_jax.inference import restore
from air_jax.storage import run_dir
from air_jax.training import loop, population, sharding, train_step
from air_jax.training import restore as training_restore

ROOT = pathlib.Path(__file__).parent.parent
STEPS = 5  # of every call: other numbers would be other programs


@pytest.fixture
def two(run_config):
  """The configuration of a population of two, five steps long."""
  run_config.train.update(population=2, steps=5, eval_every=5)
  return run_config


def advanced(config, start=0, states=None):
  """The population of a configuration, its states after `STEPS` more, and their reports."""
  parsed = config_lib.parse(config)
  members = population.build(parsed)
  source = loading.batch_source(parsed.data, parsed.train.batch_size)
  states = states or population.init(members)
  return members, *population.advance(train_step.train_step, members, source, states, start, STEPS)


def assert_close(tree, other, atol=2e-5):
  for a, b in zip(*map(jax.tree.leaves, (tree, other)), strict=True):
    np.testing.assert_allclose(a, b, atol=atol)


@pytest.mark.parametrize('online', [False, True])
def test_each_member_is_fed_as_its_seed_asks(two, online):
  two.data.online = online
  two.seed = 3
  parsed = config_lib.parse(two)
  source = loading.batch_source(parsed.data, parsed.train.batch_size)
  drawn = population._sample_indices(population.build(parsed), source, 4, 2)
  for i, seed in enumerate((3, 4)):
    for ours, theirs in zip(
      *map(jax.tree.leaves, (drawn, source.sample_indices(seed, 4, 2))), strict=True
    ):
      np.testing.assert_array_equal(ours[:, i], theirs)


def test_a_member_is_the_run_of_its_seed_and_its_numbers(two):
  own = {
    'learning_rate': (1e-3, 2e-3),
    'size_prior_mean': (0.42, 0.3),
    'likelihood_std': (0.3, 0.2),
    'output_bias': (-2.0, -1.0),
  }
  two.members.update(own)
  _, states, reports = advanced(two)
  for i in range(2):
    alone = two.copy_and_resolve_references()
    alone.seed = two.seed + i
    alone.members.update({name: () for name in own})
    alone.train.population = 1
    alone.train.learning_rate = own['learning_rate'][i]
    for name in ('size_prior_mean', 'likelihood_std', 'output_bias'):
      alone.model[name] = own[name][i]
    _, state, report = advanced(alone)
    for name, values in report.items():
      np.testing.assert_allclose(reports[name][:, i], values[:, 0], rtol=1e-4, err_msg=name)
    ours, theirs = population.member(states, i), population.member(state, 0)
    assert_close(ours.params, theirs.params)
    assert_close(ours.average, theirs.average)
    assert ours.step == STEPS
  rates = [population.member(states, i).params['cell']['initial_h'] for i in range(2)]
  assert (rates[0] != rates[1]).any()


def test_a_population_of_one_makes_the_steps_of_its_learner(run_config):
  members, states, reports = advanced(run_config)
  config = config_lib.parse(run_config)
  scenes = loading.load(config.data, 'train')
  learner = train_step.build(config)
  step, expected = jax.jit(train_step.train_step), jax.jit(train_step.init)(learner)
  source = loading.batch_source(config.data, config.train.batch_size)
  drawn = source.sample_indices(config.seed, 0, STEPS)
  assert len(np.unique(drawn, axis=0)) > 1
  for i, chosen in enumerate(drawn):
    expected, report = step(learner, expected, scenes.images[chosen], scenes.counts[chosen])
    for name, value in report.items():
      np.testing.assert_allclose(reports[name][i, 0], value, rtol=1e-4, err_msg=name)
  assert_close(population.member(states, 0).params, expected.params)


def test_other_seeds_and_numbers_compile_nothing_anew(two):
  two.members.learning_rate = (1e-3, 2e-3)
  members, *_ = advanced(two)
  before = population._advance._cache_size()
  two.seed = 7
  two.members.update(learning_rate=(1e-4, 2e-4), likelihood_std=(0.3, 0.2))
  two.train.update(checkpoint_every=3, draw_every=7, keep_best=2)  # nor do other intervals
  two.data.cache_dir += '/.'
  others, *_ = advanced(two)
  # The batch sources of both gather alike.
  assert population._advance._cache_size() == before
  assert jax.tree.structure(members.learner) == jax.tree.structure(others.learner)


def test_any_pure_step_can_be_handed_in(two):
  parsed = config_lib.parse(two)
  members = population.build(parsed)
  source = loading.batch_source(parsed.data, parsed.train.batch_size)

  def count_bright(learner, state, images, counts):
    return state + (images > 127).sum(), {'rate': learner.learning_rate, 'counts': counts.sum()}

  states, reports = population.advance(count_bright, members, source, jax.numpy.zeros(2, int), 0, 3)
  scenes = loading.load(parsed.data, 'train')
  for i, seed in enumerate(members.seeds):
    chosen = source.sample_indices(seed, 0, 3)
    assert states[i] == (scenes.images[chosen] > 127).sum()
    np.testing.assert_array_equal(reports['counts'][:, i], scenes.counts[chosen].sum(1))
  np.testing.assert_allclose(reports['rate'], 7e-4)


def test_members_have_folders_of_their_own_and_are_summed_up(two, tmp_path):
  two.train.success = 0.0
  summary = api.train(two, tmp_path)
  folders = [tmp_path / 'members' / name for name in ('000', '001')]
  each = [run_dir.read_evaluation(folder) for folder in folders]
  assert summary['each'] == {'0': each[0], '1': each[1]}
  assert summary['elbo'] == pytest.approx(np.mean([own['elbo'] for own in each]))
  assert summary['best'] == int(each[1]['elbo'] > each[0]['elbo'])
  assert summary['success']['members'] == summary['members'] == 2
  for folder in folders:
    assert {path.stem for path in (folder / 'figures').glob('*.png')} == run_folder.PICTURES
    assert [line['split'] for line in run_folder.lines_of(folder)] == ['train', 'test']
  lines = [run_folder.lines_of(folder, 'train')[0] for folder in folders]
  (mean,) = run_folder.lines_of(tmp_path, 'train')
  assert mean['elbo'] == pytest.approx(np.mean([line['elbo'] for line in lines]))
  assert (tmp_path / 'figures' / 'population.png').exists()
  assert run_folder.checkpoints_of(tmp_path) == [5]
  # To be used: the best, or one that is asked for.
  assert restore.load(tmp_path).config.seed == summary['best']
  other = 1 - summary['best']
  model = restore.load(tmp_path, other)
  scenes = loading.load(model.config.data, 'test')
  _, again = held_out.evaluate(model.model, model.params, scenes, model.config.seed, model.step)
  assert json.loads(json.dumps(again)) == each[other]
  with pytest.raises(UserError, match=r'member=2 is not allowed; .* has members 0\.\.1'):
    restore.load(tmp_path, 2)
  assert json.loads(json.dumps(evaluate_run(tmp_path)[0])) == json.loads(json.dumps(summary))


def test_means_are_of_the_numbers_that_all_members_have():
  """A member that an earlier version evaluated lacks some."""
  each = [{'elbo': 1.0, 'count_calibration_error': 0.5}, {'elbo': 2.0, 'box_iou': 0.5}]
  assert population_summary.mean(each) == {'elbo': 1.5}


def test_a_population_goes_on_where_it_was_and_ends_the_same(two, tmp_path):
  two.train.update(steps=10, checkpoint_every=5)
  loop.train(two, tmp_path / 'whole')
  with run_dir.open_for_writing(tmp_path / 'parts', two) as folder:
    (folder / 'checkpoints').mkdir()
  kept = tmp_path / 'whole' / 'checkpoints' / '5'
  kept.rename(tmp_path / 'parts' / 'checkpoints' / '5')
  loop.train(two, tmp_path / 'parts')
  whole, parts = (training_restore.restore(tmp_path / name)[1] for name in ('whole', 'parts'))
  for a, b in zip(*map(jax.tree.leaves, (whole, parts)), strict=True):
    np.testing.assert_array_equal(a, b)


def test_a_member_that_diverges_is_recorded_and_disturbs_nobody(two, tmp_path, capsys):
  two.train.update(steps=10, eval_every=10, checkpoint_every=5)
  two.members.learning_rate = (1e30, 2e-3)
  summary = api.train(two, tmp_path, figures=False)
  known = json.loads((tmp_path / 'diverged.json').read_text())
  assert json.loads(json.dumps(summary['diverged'])) == known and known.keys() == {'0'}
  assert known['0']['step'] == 2 and 'loss' in known['0']['what']
  assert re.search(r'member 0 diverged at step 2: .*loss', capsys.readouterr().out)
  assert summary['best'] == 1 and summary['each'].keys() == {'1'}
  assert 'diverged at step 2' in tables.table(summary)
  assert not (tmp_path / 'members' / '000' / 'evaluation.json').exists()
  assert (tmp_path / 'members' / '000' / 'metrics.jsonl').read_text() == ''
  assert [line['step'] for line in run_folder.lines_of(tmp_path, 'train')] == [5, 10]
  _, alone, _ = advanced(two)
  _, alone, _ = advanced(two, STEPS, alone)
  _, kept, _ = training_restore.restore(tmp_path)
  assert_close(population.member(kept, 1).params, population.member(alone, 1).params)
  again, _ = evaluate_run(tmp_path)
  assert again['diverged'].keys() == known.keys() and again['each'].keys() == {'1'}
  one, folder = evaluate_run(tmp_path, particles=3, member=1)
  assert folder == tmp_path / 'members' / '001'
  broken, _ = evaluate_run(tmp_path, member=0)  # when asked for by itself
  assert broken['step'] == 10
  assert one['particles'] == 3 and one['tight_bound'] > one['elbo']
  two.train.steps = 15  # also when it goes on from there
  assert loop.train(two, tmp_path)['diverged'] == known


def test_training_ends_where_every_member_has_diverged(two, tmp_path):
  two.members.learning_rate = (1e30, 1e30)
  with pytest.raises(DivergenceError, match='diverged: in every member, first at step 2 '):
    loop.train(two, tmp_path)
  assert run_folder.checkpoints_of(tmp_path) == []


def test_numbers_and_seeds_of_members_are_checked_beside_their_number(two):
  for changes, says in (
    ({'members.learning_rate': (1e-3,)}, r'=\(0\.001,\) is .* as many .* train\.population=2'),
    ({'members.output_bias': (0.0, float('inf'))}, 'must be of numbers, each finite'),
    ({'seed': 2**32 - 1}, r'at most 2\*\*32 - train\.population'),
  ):
    changed = two.copy_and_resolve_references()
    changed.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=says):
      config_lib.parse(changed)


SPREAD = """
import sys
import jax
import numpy as np
from absl import flags
from air_jax.config import schema
from air_jax.configs import tiny
from air_jax.data import loading
from air_jax.training import population, train_step

flags.FLAGS.mark_as_parsed()
for number, changes in enumerate(eval(sys.argv[1])):
  config = tiny.get_config()
  config.update_from_flattened_dict(dict(changes))
  parsed = schema.parse(config)
  members = population.build(parsed)
  shard = population.batch_shard(members)
  source = loading.batch_source(parsed.data, parsed.train.batch_size, shard)
  source = population.replicate(members, source)
  states = population.init(members)
  states, reports = population.advance(train_step.train_step, members, source, states, 0, 5)
  leaf = states.params['cell']['image_gates']['kernel']
  shards = sorted(shard.data.shape[0] for shard in leaf.addressable_shards)
  print(dict(members.mesh.shape), shards)
  np.savez(f'{sys.argv[2]}/{number}.npz', *jax.tree.leaves(states.params), reports['loss'])
"""

SMALL = {'model.max_steps': 2, 'model.patch_rounds': 0, 'objective.name': 'exact'}
SPREADS = (
  (4, {}, {'members': 4, 'data': 1}, 4 * [1]),
  (1, {'data.online': True}, {'members': 1, 'data': 4}, 4 * [1]),
  (6, {'data.reading': 'stream'}, {'members': 2, 'data': 2}, 4 * [3]),
)


@pytest.mark.slow
def test_devices_share_members_and_batches_and_nobody_learns_otherwise(run_config, tmp_path):
  """One process has four devices for all the cases, since its start takes seconds."""
  cases = [
    SMALL | {'train.population': size, 'data.cache_dir': run_config.data.cache_dir, **more}
    for size, more, *_ in SPREADS
  ]
  done = spread(cases, tmp_path)
  assert done.returncode == 0, done.stderr
  expected = [f'{mesh} {parts}' for *_, mesh, parts in SPREADS]
  lines = [line for line in done.stdout.splitlines() if line.startswith('{')]  # TFDS prints too
  assert lines == expected
  for number, changes in enumerate(cases):
    config = run_config.copy_and_resolve_references()
    config.update_from_flattened_dict(changes)
    _, states, reports = advanced(config)
    found = np.load(tmp_path / f'{number}.npz')
    known = [*jax.tree.leaves(states.params), reports['loss']]
    for name, theirs in zip(found.files, known, strict=True):
      # Adam divides by the size of a gradient, which in a few places is rounding alone.
      far = ~np.isclose(found[name], theirs, rtol=1e-4, atol=2e-5)
      assert far.mean() < 1e-4, (number, name)


def test_a_batch_that_devices_cannot_share_evenly_is_refused(two, monkeypatch):
  members = population.build(config_lib.parse(two))
  monkeypatch.setattr(sharding, 'batch_shards', lambda mesh: 2)
  monkeypatch.setattr(jax, 'device_count', lambda: 4)
  says = (
    r'config\.train\.batch_size=7 is not allowed; it must be a multiple of 2, since that many of '
    r'the 4 devices share a batch of each of config\.train\.population=2 members'
  )
  with pytest.raises(UserError, match=says):
    population.batch_shard(members._replace(batch_size=7))


def spread(cases, folder):
  """Five steps of each case on four devices; what they end with is kept in files of the folder."""
  return subprocess.run(
    [sys.executable, '-c', SPREAD, repr(cases), folder], cwd=ROOT,
    env=os.environ | {'JAX_NUM_CPU_DEVICES': '4'},
    capture_output=True, text=True, timeout=300,
  )  # fmt: skip
