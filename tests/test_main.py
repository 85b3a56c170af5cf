"""A run from end to end: stopped, killed and continued by main.py, and used in the other modes."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import program
import pytest
import run_folder
from PIL import Image

from air_jax.evaluation import tables
from air_jax.storage import run_dir
from air_jax.training import gradient_variance

# ml_collections loads configurations so.
pytestmark = [
  pytest.mark.slow,
  pytest.mark.filterwarnings(r'ignore:the load_module\(\) method:DeprecationWarning'),
]
ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def main(tmp_path):
  """Starts main.py on folder `run` or another."""

  def start(*arguments, folder='run'):
    return subprocess.Popen(
      [sys.executable, ROOT / 'main.py', *arguments, f'--workdir={folder}'], cwd=tmp_path,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

  return start


def output(process):
  """What a process prints that ends well."""
  out, error = process.communicate(timeout=200)
  assert process.returncode == 0, error
  return out


def signal_when_kept(process, folder, step, number):
  """Sends a signal as soon as the checkpoint of a step is there; returns the exit code."""
  begun = time.monotonic()
  while not (folder / 'checkpoints' / str(step)).exists():
    assert process.poll() is None and time.monotonic() - begun < 200
    time.sleep(0.005)
  process.send_signal(number)
  process.wait(60)
  return process.returncode


def test_stopped_and_killed_run_ends_as_if_nothing_had_happened(
  main, finished_run, scene_cache, tmp_path
):
  folder = tmp_path / 'run'
  command = [f'--config={ROOT}/configs/tiny.py', f'--config.data.cache_dir={scene_cache}']
  with main(*command) as process:
    assert signal_when_kept(process, folder, 5, signal.SIGTERM) == 128 + signal.SIGTERM
    *progress, line = process.stderr.read().splitlines()
    assert len(progress) == 1 and 'compiling the training step' in progress[0]
    assert re.fullmatch(
      r'main\.py: interrupted at step (5|10|15); the same command goes on .*', line
    )
  with main(*command) as process:
    assert signal_when_kept(process, folder, 15, signal.SIGKILL) == -signal.SIGKILL
  assert run_folder.checkpoints_of(folder) == [5, 10, 15]
  with main(*command) as process:
    out = output(process)
  run_folder.assert_same_end(folder, finished_run)
  assert run_folder.lines_of(folder) == run_folder.lines_of(finished_run)
  _, scalars, written = run_folder.read_events(folder)
  # What tensorboardX had not yet put on disk died with the process; nothing is there twice.
  assert {step for _, step in written.keys() - scalars.keys()} <= {15}
  assert scalars == pytest.approx({key: written[key] for key in scalars}, rel=1e-6)
  assert re.match(r'first steps under way after \d+\.\d s\nstep      20: held-out count', out)
  assert tables.table(run_dir.read_evaluation(finished_run)) in out
  assert 'python' in out and '--mode=report --workdir=run' in out


@pytest.fixture
def call(monkeypatch, capsys):
  """Calls the program in this process; it must end well. Returns what it prints."""

  def calling(*arguments):
    code, out, error = program.call(monkeypatch, capsys, *arguments)
    assert code == 0, error
    return out

  return calling


def test_other_modes_need_only_the_folder(call, copy, monkeypatch, capsys):
  summary = run_dir.read_evaluation(copy)
  (copy / 'evaluation.json').unlink()
  assert call('--mode=evaluate', f'--workdir={copy}').startswith(tables.table(summary))
  again = json.loads((copy / 'evaluation.json').read_text())
  assert again == summary

  # Other scenes than its own leave the run as it is.
  kept = (copy / 'evaluation.json').read_bytes()
  other = '--config.data.counts=(4,)', '--config.model.max_steps=4', '--config.data.test_scenes=20'
  out = call('--mode=evaluate', f'--workdir={copy}', *other, f'--out={copy / "four.json"}')
  assert (copy / 'evaluation.json').read_bytes() == kept
  summary = json.loads((copy / 'four.json').read_text())
  assert out.startswith(tables.table(summary)) and 'four.json' in out
  assert summary['images'] == 20 and summary['accuracy_by_count'].keys() == {'4'}
  assert len(summary['predicted_counts']) == 5
  code, _, error = program.call(
    monkeypatch, capsys, '--mode=evaluate', f'--workdir={copy}', *other, f'--out={copy}/four.json'
  )
  assert code == 2 and 'cannot write' in error and 'File exists' in error

  pictures = {
    name: np.asarray(Image.open(copy / 'figures' / f'{name}.png')) for name in run_folder.PICTURES
  }
  shutil.rmtree(copy / 'figures')
  out = call('--mode=figures', f'--workdir={copy}')
  paths = [pathlib.Path(line) for line in out.splitlines()]
  stills = [path for path in paths if path.suffix == '.png']
  assert {path.stem for path in stills} == run_folder.PICTURES
  assert {path.name for path in paths[len(stills) :]} == run_folder.ANIMATIONS
  for path in stills:
    with Image.open(path) as file:
      np.testing.assert_array_equal(np.asarray(file), pictures[path.stem])


def test_variance_is_measured_for_a_run_or_an_untrained_model(call, copy, tmp_path, scene_cache):
  few = ['--mode=variance', '--draws=10', '--objectives=exact,mvd']
  untrained = ['--config=tiny', f'--config.data.cache_dir={scene_cache}']
  for arguments, folder, step in ((few, copy, 20), (few + untrained, tmp_path / 'new', 0)):
    out = call(*arguments, f'--workdir={folder}')
    summary = json.loads((folder / 'variance.json').read_text())
    assert (summary['step'], list(summary['estimators'])) == (step, ['exact', 'mvd'])
    assert out.startswith(gradient_variance.table(summary))
    assert (folder / 'figures' / 'variance.png').exists()
