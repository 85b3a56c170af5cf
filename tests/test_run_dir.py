"""The folder of a run: made for one configuration, written by one process, read by all."""

import json
import logging
import os
import shutil

import pytest
import run_folder

from air_jax.config import schema as config_lib
from air_jax.errors import UserError
from air_jax.inference import restore
from air_jax.runtime import distributed
from air_jax.storage import run_dir, run_lock
from air_jax.training import loop


def use(folder, config):
  """Creates a run's folder, or resumes it."""
  with run_dir.open_for_writing(folder, config) as opened:
    return opened


@pytest.mark.parametrize(
  'changes',
  [
    {'seed': 1},
    {'data.test_scenes': 65},
    {'data.colour': True},
    {'model.encoder_sizes': (16, 16)},
    {'model.background': 'latent'},
    {'objective.name': 'reinforce'},
    {'train.learning_rate': 2e-3, 'train.clip_norm': 1.0},
    {'train.steps': 19},
    {'train.steps': 21, 'train.batch_size': 9},
  ],
  ids=lambda changes: ' '.join(changes),
)
def test_other_changes_are_refused_naming_the_keys(copy, run_config, changes):
  before = run_folder.contents(copy)
  old = config_lib.flatten(run_config)
  for key, value in changes.items():
    section, _, inner = key.rpartition('.')
    (run_config[section] if section else run_config)[inner] = value
  with pytest.raises(UserError) as caught:
    use(copy, run_config)
  for key, value in changes.items():
    assert f'{key} ({old[key]!r} there, {value!r} now)' in str(caught.value)
  assert run_folder.contents(copy) == before


def test_same_configuration_resumes_its_folder(copy, run_config):
  before = run_folder.contents(copy)
  assert use(copy, run_config) == copy
  assert run_folder.contents(copy) == before


def test_more_steps_resume_it_too_and_are_kept(copy, run_config):
  run_config.train.steps += 5
  assert use(copy, run_config) == copy
  assert run_dir.load_config(copy).train.steps == run_config.train.steps


def test_while_one_trains_others_are_refused_and_may_read(copy, run_config):
  before = run_folder.contents(copy)
  with run_dir.open_for_writing(copy, run_config):
    with pytest.raises(UserError, match=f'{copy} is in use by process {os.getpid()} on .* since '):
      use(copy, run_config)
    assert restore.load(copy).step == 20
    assert run_dir.read_evaluation(copy)['step'] == 20
  assert run_folder.contents(copy) == before


def test_a_refused_configuration_frees_the_folder(copy, run_config):
  run_config.seed = 1
  with pytest.raises(UserError, match='another configuration'):
    use(copy, run_config)
  with run_lock.acquire(copy):
    pass


def test_of_several_processes_the_primary_one_holds_the_lock(copy, run_config, monkeypatch):
  with run_lock.acquire(copy):  # by the primary process
    monkeypatch.setattr(distributed, 'is_primary', lambda: False)
    assert use(copy, run_config) == copy
  monkeypatch.setattr(distributed, 'is_primary', lambda: False)
  with pytest.raises(UserError, match='is not the same folder on every host'):
    use(copy / 'elsewhere', run_config)


def test_checkpoints_without_a_configuration_are_refused(copy, run_config):
  (copy / 'config.json').unlink()
  with pytest.raises(UserError, match=r'holds checkpoints but no config\.json'):
    use(copy, run_config)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, run_config):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match=f'workdir {tmp_path}/file cannot be used: File exists'):
    use(tmp_path / 'file', run_config)


@pytest.mark.parametrize('text', ['{"seed": 0', '', '[]'])
def test_spoilt_configuration_is_refused(copy, run_config, text):
  (copy / 'config.json').write_text(text)
  for using in (lambda: use(copy, run_config), lambda: restore.restore(copy)):
    with pytest.raises(UserError, match=r'config\.json'):
      using()
  assert (copy / 'config.json').read_text() == text


def test_run_without_a_checkpoint_cannot_be_restored(copy):
  shutil.rmtree(copy / 'checkpoints')
  with pytest.raises(UserError, match='holds no checkpoint yet; train first'):
    restore.restore(copy)


@pytest.mark.parametrize('text', ['{"0": {"step": 3', '[]', '{"0": 3}', '{"x": {"step": 1}}'])
def test_damaged_record_of_divergence_is_refused(tmp_path, text):
  (tmp_path / 'diverged.json').write_text(text)
  with pytest.raises(UserError, match=r'diverged\.json is damaged.*; restore it, or remove it'):
    run_dir.diverged(tmp_path, 10, 2)


def test_members_had_diverged_by_a_step_or_not(tmp_path):
  assert run_dir.diverged(tmp_path, 10, 12) == {}
  known = {0: {'step': 3, 'what': ['loss']}, 11: {'step': 10, 'what': ['params']}}
  run_dir.write_diverged(tmp_path, known)
  assert run_dir.diverged(tmp_path, 10, 12) == known
  assert run_dir.diverged(tmp_path, 9, 12) == {0: known[0]}
  assert run_dir.diverged(tmp_path, 2, 12) == {}
  for size in (1, 2, 11):
    with pytest.raises(UserError, match=rf'it is not of {size} members; restore it'):
      run_dir.diverged(tmp_path, 10, size)


@pytest.mark.parametrize('text', ['{"elbo": 1', '[]'])
def test_damaged_evaluation_is_named(tmp_path, text):
  assert run_dir.read_evaluation(tmp_path) is None
  (tmp_path / 'evaluation.json').write_text(text)
  with pytest.raises(UserError, match=r'evaluation\.json is damaged'):
    run_dir.read_evaluation(tmp_path)


def test_an_evaluation_of_an_earlier_version_has_no_calibration_error(tmp_path, finished_run):
  summary = json.loads((finished_run / 'evaluation.json').read_text())
  del summary['count_calibration_error']
  (tmp_path / 'evaluation.json').write_text(json.dumps(summary))
  assert run_dir.read_evaluation(tmp_path) == summary


def test_a_damaged_evaluation_of_a_finished_run_is_made_anew(copy, run_config, caplog):
  sound = run_dir.read_evaluation(copy)
  (copy / 'evaluation.json').write_text('{"step": 20, "elbo": "high"}')
  with caplog.at_level(logging.WARNING):
    summary = loop.train(run_config, copy)
  (message,) = [record.getMessage() for record in caplog.records]
  assert message.startswith(f'{copy}/evaluation.json is damaged: it lacks ')
  assert message.endswith('evaluate the run anew, which is done now')
  assert summary == sound == run_dir.read_evaluation(copy)


def test_members_have_folders_and_a_single_run_has_its_own(tmp_path):
  assert run_dir.member_dirs(tmp_path, 1) == [tmp_path] and not list(tmp_path.iterdir())
  assert [path.relative_to(tmp_path).as_posix() for path in run_dir.member_dirs(tmp_path, 3)] == [
    'members/000', 'members/001', 'members/002',
  ]  # fmt: skip
  assert not list(tmp_path.iterdir())
