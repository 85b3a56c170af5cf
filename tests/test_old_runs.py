"""A run that version 0.1 wrote is evaluated, used and continued.

tests/data/run_0_1.zip is the folder of a population of two with NVIL's moving averages, trained for
four steps by that version, without figures and TensorBoard events.
"""

import json
import pathlib
import zipfile

import jax
import numpy as np
import pytest

import air_jax
from air_jax.cli.evaluate import evaluate_run
from air_jax.errors import UserError
from air_jax.storage import run_dir
from air_jax.training import restore

ARCHIVE = pathlib.Path(__file__).parent / 'data' / 'run_0_1.zip'


@pytest.fixture
def old(tmp_path, scene_cache):
  """The run's folder, and its configuration with the suite's cache of scenes."""
  with zipfile.ZipFile(ARCHIVE) as archive:
    archive.extractall(tmp_path / 'run')
  path = tmp_path / 'run' / 'config.json'
  config = json.loads(path.read_text())
  config['data']['cache_dir'] = scene_cache
  path.write_text(json.dumps(config))
  return tmp_path / 'run'


def test_its_evaluation_is_the_one_that_was_kept(old):
  known = json.loads((old / 'evaluation.json').read_text())
  again = json.loads(json.dumps(evaluate_run(old)[0]))
  since = {'box_f1', 'ari', 'ari_fg', 'mask_iou', 'ap', 'ap_50', 'count_calibration_error'}  # 0.2.0
  assert again.keys() - known.keys() == since and again['members'] == 2
  for member, kept in known['each'].items():
    ours = again['each'][member]
    for name in ('elbo', 'nll', 'kl', 'reconstruction_mse', 'window_size'):
      assert ours[name] == pytest.approx(kept[name], rel=1e-4), name
    assert ours['confusion'] == kept['confusion']


def test_its_model_parses(old):
  model = air_jax.load(old, 0)
  assert model.step == 4 and model.config.model.likelihood == 'gaussian'
  assert model.parse(np.zeros((2, 20, 20), np.uint8)).counts.shape == (2,)


@pytest.mark.slow
def test_its_training_state_arrives_and_goes_on(old):
  _, states, _ = restore.restore(old)
  # The averages start at 0 and 1; each cost is far from that.
  assert (np.abs(states.estimator.mean) > 1).all() and (states.estimator.variance > 10).all()
  adam = states.opt_state.inner_states['model'].inner_state[0]
  assert adam.count.tolist() == [4, 4]
  assert all((np.asarray(leaf) >= 0).all() for leaf in jax.tree.leaves(adam.nu))
  config = run_dir.load_config(old)
  config.train.steps = 6
  summary = air_jax.train(config, old, figures=False)
  assert summary['step'] == 6
  lines = list(map(json.loads, (old / 'metrics.jsonl').read_text().splitlines()))
  assert [line['step'] for line in lines if line['split'] == 'train'] == [2, 4, 6]


def test_a_key_that_this_version_does_not_know_is_named(old):
  path = old / 'config.json'
  config = json.loads(path.read_text())
  config['model']['of_tomorrow'] = 1
  path.write_text(json.dumps(config))
  with pytest.raises(UserError, match=r'keys that .* does not know: model\.of_tomorrow;'):
    air_jax.load(old)
