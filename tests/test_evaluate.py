"""The summary of an evaluation agrees with itself and with the logs."""

import json

import numpy as np
import run_folder


def test_evaluation_holds_the_figures_of_the_last_step(finished_run):
  summary = json.loads((finished_run / 'evaluation.json').read_text())
  confusion = np.array(summary['confusion'])
  assert confusion.shape == (3, 4) and confusion.sum() == summary['images'] == 64
  assert summary['count_accuracy'] == np.trace(confusion) / 64
  low, high = summary['count_accuracy_interval']
  assert 0 <= low <= summary['count_accuracy'] <= high < 1
  assert 0 <= summary['box_iou'] <= 1
  assert summary['step'] == 20
  last = run_folder.lines_of(finished_run, 'test')[-1]
  for name in ('count_accuracy', 'elbo', 'nll', 'kl', 'box_iou', 'reconstruction_mse'):
    assert last[name] == summary[name]
