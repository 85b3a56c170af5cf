"""Damaged files of a run are read, left out, made again or refused with a `UserError`."""

import contextlib
import io
import json
import os

import mutations
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from air_jax.config import schema
from air_jax.configs import tiny
from air_jax.errors import UserError
from air_jax.evaluation import population_summary, tables
from air_jax.inference.report import page
from air_jax.inference.restore import Run
from air_jax.storage import metric_writers, provenance, run_dir, run_lock
from air_jax.viz import plots

pytestmark = pytest.mark.filterwarnings('ignore:.*overflow:RuntimeWarning')  # of axes to 1e308

RUN = {
  'step': 20, 'images': 64, 'count_accuracy': 0.25, 'count_accuracy_interval': [0.16, 0.37],
  'count_calibration_error': 0.3,
  'accuracy_by_count': {'0': 0.5, '1': None, '2': 0.0}, 'predicted_counts': [17, 8, 0],
  'confusion': [[8, 8, 0], [0, 0, 0], [9, 0, 0]], 'elbo': -1.5, 'nll': 1.0, 'kl': 0.5,
  'reconstruction_mse': 0.04, 'box_iou': 0.1, 'box_f1': 0.2, 'ari': 0.1, 'ari_fg': 0.2,
  'mask_iou': 0.3, 'ap': 0.1, 'ap_50': 0.2, 'window_size': 0.4, 'window_size_std': 1.0,
  'tight_bound': -1.25, 'particles': 10,
}  # fmt: skip
DIVERGED = {1: {'step': 7, 'what': ['loss', 'grad_norm']}}
POPULATION = population_summary.summarize({0: RUN, 2: RUN}, DIVERGED, 0.5)
LINES = [
  {'step': 5, 'wall_s': 1.5, 'split': 'train', 'loss': 3.5, 'elbo': -3.5, 'count_accuracy': 0.5},
  {'step': 10, 'wall_s': 2.0, 'split': 'test', 'elbo': float('inf'), 'count_accuracy': 1},
  {'step': 10, 'wall_s': 2.5, 'split': 'train', 'loss': float('nan'), 'skipped': 2.0},
]  # fmt: skip
PRINTED = io.TextIOWrapper(io.BytesIO(), 'utf-8')  # as strict as standard output


def printed(text):
  PRINTED.write(text)
  PRINTED.seek(0)
  PRINTED.truncate()


def reading(function, *arguments):
  """The result, or None where it is refused in one line."""
  try:
    return function(*arguments)
  except UserError as error:
    assert '\n' not in str(error) and len(str(error)) < 2000, error
    return None


@pytest.mark.parametrize('summary', [RUN, POPULATION], ids=['run', 'population'])
@mutations.examples()
@given(st.data())
def test_a_damaged_evaluation(summary, tmp_path, data):
  content = data.draw(mutations.damaged_document(summary))
  (tmp_path / 'evaluation.json').write_bytes(content)
  if found := reading(run_dir.read_evaluation, tmp_path):
    printed(tables.table(found))
    json.dumps(found, indent=2)
  config = schema.parse(tiny.get_config())
  train = config.train.__class__(**{**vars(config.train), 'population': 3})
  many = config.__class__(**{**vars(config), 'train': train})
  run = Run(many, tmp_path, 20, {}, DIVERGED, config.data, changed=False)
  assert reading(run.chosen, None) in (None, 0, 2)


def test_sound_evaluations_are_read(tmp_path):
  for summary in (RUN, POPULATION):
    run_dir.write_evaluation(tmp_path, summary)
    assert run_dir.read_evaluation(tmp_path) == summary


@mutations.examples()
@given(mutations.damaged_document({str(i): each for i, each in DIVERGED.items()}))
def test_a_damaged_record_of_divergence(tmp_path, content):
  (tmp_path / 'diverged.json').write_bytes(content)
  for size in (1, 3):
    if (known := reading(run_dir.diverged, tmp_path, 10, size)) is not None:
      assert known.keys() < {*range(size)}
      alive = {i: RUN for i in range(size) if i not in known}
      printed(tables.table(population_summary.summarize(alive, known, 0.5)))


@mutations.examples()
@given(mutations.damaged_lines(LINES))
def test_damaged_metrics(tmp_path, content):
  path = tmp_path / 'metrics.jsonl'
  path.write_bytes(content)
  records = metric_writers.read_metrics(tmp_path)
  np.array([[record['step'], record['wall_s']] for record in records], float)
  metric_writers._JsonlFile(tmp_path, 10).close()
  kept = [record for record in records if record['step'] <= 10]
  assert repr(metric_writers.read_metrics(tmp_path)) == repr(kept)


@mutations.examples(25)
@given(mutations.damaged_lines(LINES))
def test_damaged_metrics_are_drawn(tmp_path, content):
  """Layout and ticks are those of matplotlib, which numbers at the border may overflow."""
  (tmp_path / 'metrics.jsonl').write_bytes(content)
  records = metric_writers.read_metrics(tmp_path)
  for figure in (plots.training(records), plots.population([records, records])):
    figure.savefig(io.BytesIO(), format='svg')


ENTRY = {
  'started': '2026-01-01T00:00:00+00:00', 'step': 0, 'command': ['main.py', '--config=tiny'],
  'commit': None, 'versions': {'air_jax': '0.2.0', 'jax': '0.10.2'}, 'device': '1 x cpu',
  'processes': 1, 'host': 'here', 'pid': 7,
}  # fmt: skip


@mutations.examples()
@given(content=mutations.damaged_document([ENTRY, ENTRY | {'step': 5}]))
def test_a_damaged_provenance(tmp_path_factory, monkeypatch, content):
  folder = tmp_path_factory.getbasetemp() / 'provenance'
  folder.mkdir(exist_ok=True)
  path = folder / 'provenance.json'
  path.write_bytes(content)
  page._columns(provenance.read(folder))
  monkeypatch.setattr(provenance, '_commit', lambda _: None)  # starts git
  provenance.record(folder, 5, ['main.py'])
  assert provenance.read(folder)[-1]['step'] == 5


@mutations.examples()
@given(st.data())
def test_a_damaged_lock(tmp_path, monkeypatch, data):
  """It is respected while its process lives, and otherwise taken over after a time."""
  monkeypatch.setattr(run_lock, '_STALE_S', 0.0)
  monkeypatch.setattr(run_lock, '_RESTARTED_S', 0.0)
  owner = json.loads(json.dumps(run_lock._myself()))
  pid = data.draw(st.sampled_from([os.getpid(), os.getppid(), 2**22]))
  content = data.draw(mutations.damaged_document(owner | {'pid': pid}))
  path = tmp_path / 'run.lock'
  path.write_bytes(content)
  with contextlib.suppress(UserError):
    with run_lock.acquire(tmp_path):
      assert run_lock._read(path)['pid'] == os.getpid()
    assert not path.exists()
  path.unlink(missing_ok=True)
  assert [*tmp_path.iterdir()] == []
