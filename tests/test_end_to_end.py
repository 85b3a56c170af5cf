"""The promise of `make train`, in small: every seed counts and finds digits never seen before."""

import json
import os
import pathlib
import subprocess
import sys

import demo_page
import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parent.parent
STEPS = 500
MEMBERS = 2


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """The folder of a population that was trained."""
  folder = tmp_path_factory.mktemp('trained')
  flags = {
    'workdir': folder / 'run',
    'config.data.cache_dir': folder / 'cache',
    'config.data.train_scenes': 10_000,
    'config.data.test_scenes': 2000,
    'config.train.population': MEMBERS,
    'config.train.success': 0.95,
    'config.train.steps': STEPS,
    'config.train.eval_every': STEPS,
    'config.train.draw_every': 0,
  }
  arguments = (f'--{key}={value}' for key, value in flags.items())
  done = subprocess.run(
    [sys.executable, '-c', 'from optimised import main; main()', *arguments], cwd=folder,
    env=os.environ | {'PYTHONPATH': os.pathsep.join(map(str, (ROOT, ROOT / 'tests')))},
    capture_output=True, text=True, timeout=900,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  return folder / 'run'


def test_every_member_trained_on_embedded_digits_counts_and_finds_held_out_ones(run):
  summary = json.loads((run / 'evaluation.json').read_text())
  assert summary['images'] == 2000 and summary['step'] == STEPS
  assert summary['success']['members'] == len(summary['each']) == MEMBERS
  for each in summary['each'].values():
    assert each['count_accuracy'] >= 0.95
    assert min(each['accuracy_by_count'].values()) >= 0.9
    assert each['box_iou'] > 0.6


def test_what_is_drawn_in_a_browser_is_counted(run):
  seven, one = [(0.2, 0.15), (0.4, 0.15), (0.28, 0.45)], [(0.72, 0.5), (0.70, 0.85)]
  with demo_page.served(run) as address, demo_page.opened(address) as page:
    for strokes, count in ((seven, '1 object'), (one, '2 objects')):
      demo_page.draw(page, strokes)
      assert page.inner_text('#count') == count
    before = page.evaluate('scene')
    demo_page.drag(page, before['objects'][0]['box'], 0.1, 0.05)
    assert page.inner_text('#how') == 'edited'
    after = page.evaluate('scene')
    where, there = (np.array(scene['latents']['z_where']) for scene in (before, after))
    scale, right, down = there[0] - where[0]
    assert scale == pytest.approx(0, abs=1e-4) and right > 0 and down > 0
    moved = np.subtract(after['objects'][0]['box'], before['objects'][0]['box'])
    np.testing.assert_allclose(moved, [0.05, 0.1, 0, 0], atol=0.041)  # two pixels
    np.testing.assert_array_equal(there[1], where[1])
    with demo_page.answered(page):
      page.click('#remove')
    assert page.inner_text('#count') == '1 object'
