"""Whose folder it is: claimed by one configuration, refused to others, never spoilt."""

import shutil

import pytest
import run_folder

from air_jax.config import schema as config_lib
from air_jax.errors import UserError
from air_jax.storage import run_dir


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
    run_dir.claim(copy, run_config)
  for key, value in changes.items():
    assert f'{key} ({old[key]!r} there, {value!r} now)' in str(caught.value)
  assert run_folder.contents(copy) == before


def test_same_configuration_claims_its_folder_again(copy, run_config):
  before = run_folder.contents(copy)
  assert run_dir.claim(copy, run_config) == copy
  assert run_folder.contents(copy) == before


def test_checkpoints_without_a_configuration_are_refused(copy, run_config):
  (copy / 'config.json').unlink()
  with pytest.raises(UserError, match=r'holds checkpoints but no config\.json'):
    run_dir.claim(copy, run_config)


@pytest.mark.parametrize('text', ['{"seed": 0', '', '[]'])
def test_spoilt_configuration_is_refused(copy, run_config, text):
  (copy / 'config.json').write_text(text)
  for use in (lambda: run_dir.claim(copy, run_config), lambda: run_dir.restore(copy)):
    with pytest.raises(UserError, match=r'config\.json'):
      use()
  assert (copy / 'config.json').read_text() == text


def test_run_without_a_checkpoint_cannot_be_restored(copy):
  shutil.rmtree(copy / 'checkpoints')
  with pytest.raises(UserError, match='holds no checkpoint yet; train first'):
    run_dir.restore(copy)
