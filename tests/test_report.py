"""--mode=report: one page that holds everything, and says what a run reached."""

import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from air_jax.errors import UserError
from air_jax.evaluation import held_out
from air_jax.inference import predictor
from air_jax.inference.report import figures, page
from air_jax.types import LabelledScenes, Latents


class Reader(html.parser.HTMLParser):
  """Collects text by element, what is loaded from elsewhere, and whether elements close."""

  VOID = {'meta', 'link', 'br', 'path', 'use', 'image', 'rect'}

  def __init__(self, text):
    super().__init__()
    self.open, self.texts, self.links = [], {}, []
    self.feed(text)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attributes):
    self.links += [value for name, value in attributes if name in ('src', 'href', 'xlink:href')]
    if tag not in self.VOID:
      self.open.append(tag)
      self.texts.setdefault(tag, []).append('')

  def handle_startendtag(self, tag, attributes):
    self.links += [value for name, value in attributes if name in ('src', 'href', 'xlink:href')]

  def handle_endtag(self, tag):
    if tag not in self.VOID:
      assert self.open.pop() == tag

  def handle_data(self, data):
    for tag in set(self.open):
      self.texts[tag][-1] += data


@pytest.fixture(scope='module')
def other(finished_run, tmp_path_factory):
  """A run of another configuration."""
  folder = shutil.copytree(finished_run, tmp_path_factory.mktemp('other') / 'other')
  config = json.loads((folder / 'config.json').read_text())
  config['model']['likelihood_std'] = 0.123
  (folder / 'config.json').write_text(json.dumps(config))
  return folder


@pytest.fixture(scope='module')
def text(finished_run, other, tmp_path_factory):
  out = tmp_path_factory.mktemp('report') / 'page.html'
  assert page.write(finished_run, None, [str(other)], str(out)) == out
  return out.read_text()


@pytest.fixture(scope='module')
def read(text):
  return Reader(text)


def test_nothing_is_loaded_from_elsewhere_and_it_is_small(text, read):
  assert all(link.startswith(('#', 'data:')) for link in read.links) and read.links
  assert not re.search(r'url\((?!#)', text) and '<script' not in text
  assert len(text) < 5e6


def test_every_figure_has_a_title_a_name_for_the_blind_and_a_caption(text, read):
  figures = read.texts['figure']
  assert len(figures) >= 9 and len(figures) == len(read.texts['figcaption'])
  assert all(len(caption.split()) > 8 for caption in read.texts['figcaption'])
  assert text.count('role="img" aria-label=') == text.count('<svg')


def test_numbers_are_those_of_the_evaluation(read, finished_run):
  summary = held_out.read(finished_run)
  tiles = ' '.join(read.texts['div'])
  low, high = summary['count_accuracy_interval']
  assert f'{summary["count_accuracy"]:.2%}' in tiles and f'{low:.2%} to {high:.2%}' in tiles
  assert f'{summary["elbo"]:.1f}' in tiles and f'{summary["box_iou"]:.3f}' in tiles
  cells = ' '.join(read.texts['td'])
  assert all(str(n) in cells for row in summary['confusion'] for n in row)
  assert 'train.average' in cells and 'likelihood_std' in cells and 'orbax-checkpoint' in cells


def test_runs_are_set_beside_each_other_and_what_does_not_compare_is_named(read, text):
  assert 'They differ in model.likelihood_std: their ELBOs do not compare' in text
  row = read.texts['tr'][[i for i, row in enumerate(read.texts['tr']) if '0.123' in row][0]]
  assert row.split() == ['model.likelihood_std0.20.123']


def test_intervals_are_of_the_mean():
  values = np.random.default_rng(0).normal(5, 2, 10_000)
  mean, interval = page._mean(values, '.3f')
  low, high = (float(x) for x in interval.split(' to '))
  assert float(mean) == pytest.approx(values.mean(), abs=1e-3)
  assert high - low == pytest.approx(2 * 1.96 * 2 / 100, rel=0.05)


def test_codes_carry_the_labels_of_the_objects_they_overlap():
  """Of a model that sees the truth."""

  class Seer:
    def parse(self, images):
      boxes = np.stack([scenes.boxes[:, 1], scenes.boxes[:, 0] * 0, scenes.boxes[:, 0]], 1)
      latents = Latents(None, np.arange(6.0).reshape(2, 3, 1), None, None)
      return predictor.Scene(np.array([3, 0]), None, boxes, None, None, None, latents)

  boxes = np.float32([[[0, 0, 9, 9], [20, 20, 9, 9]], [[0, 0, 0, 0], [0, 0, 0, 0]]])
  labels = np.array([[4, 7], [-1, -1]])
  images = np.zeros((2, 30, 30, 1), np.uint8)
  scenes = LabelledScenes(images, np.array([2, 0]), boxes, labels, None, None)
  codes, named = figures.codes_of(Seer(), scenes)
  assert codes.ravel().tolist() == [0, 1, 2] and named.tolist() == [7, -1, 4]


def test_a_file_that_was_named_is_not_replaced(finished_run, tmp_path):
  (tmp_path / 'mine.html').write_text('mine')
  with pytest.raises(UserError, match='exists already'):
    page.write(finished_run, None, [], str(tmp_path / 'mine.html'))
  with pytest.raises(UserError, match='holds no run'):
    page.write(tmp_path, None, [], None)


def test_a_browser_has_no_complaint(text, tmp_path):
  browser = shutil.which('chromium') or shutil.which('google-chrome')
  if browser is None:
    pytest.skip('no chromium')
  (tmp_path / 'page.html').write_text(text)
  command = [
    browser, '--headless', '--no-sandbox', '--disable-gpu', '--enable-logging=stderr', '--dump-dom',
    f'--user-data-dir={tmp_path / "profile"}', f'file://{tmp_path}/page.html',
  ]  # fmt: skip
  done = subprocess.run(command, capture_output=True, text=True, timeout=100)
  assert 'CONSOLE' not in done.stderr and '</svg>' in done.stdout
