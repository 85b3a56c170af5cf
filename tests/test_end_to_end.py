"""The promise of `make train`, in small: every seed counts and finds digits never seen before."""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
STEPS = 1200
MEMBERS = 3


def test_every_member_trained_on_embedded_digits_counts_and_finds_held_out_ones(tmp_path):
  flags = {
    'workdir': tmp_path / 'run',
    'config.data.cache_dir': tmp_path / 'cache',
    'config.data.train_scenes': 30_000,
    'config.data.test_scenes': 2000,
    'config.train.population': MEMBERS,
    'config.train.success': 0.95,
    'config.train.steps': STEPS,
    'config.train.eval_every': STEPS,
  }
  command = [sys.executable, ROOT / 'main.py', *(f'--{k}={v}' for k, v in flags.items())]
  done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
  assert done.returncode == 0, done.stderr
  summary = json.loads((tmp_path / 'run' / 'evaluation.json').read_text())
  assert summary['images'] == 2000 and summary['step'] == STEPS
  assert summary['success']['members'] == len(summary['each']) == MEMBERS
  for each in summary['each'].values():
    assert each['count_accuracy'] >= 0.95
    assert min(each['accuracy_by_count'].values()) >= 0.9
    assert each['box_iou'] > 0.6
