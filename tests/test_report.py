"""--mode=report: one page that holds everything about a run."""

import html.parser
import json
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest

from air_jax.cli import modes
from air_jax.errors import UserError
from air_jax.inference.parsed_scenes import ParsedScenes
from air_jax.inference.report import code_figures, page
from air_jax.runtime import compilation_cache
from air_jax.storage import run_dir
from air_jax.training import gradient_variance
from air_jax.types import LabelledScenes, Latents

STARTS = [
  {'command': ['main.py', '--first'], 'commit': None, 'versions': {'jax': '0.9.8'}},
  {'command': ['main.py', '--second'], 'versions': {'jax': '0.9.9'}, 'commit': 'abc'},
]


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
  given = {'workdir': finished_run, 'member': None, 'compare': [str(other)], 'out': str(out)}
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(page.provenance, 'read', lambda folder: STARTS)
    patch.setattr(compilation_cache, 'enable', lambda: None)
    patch.setattr(sys, 'argv', ['air-jax', '--mode=report'])
    modes.MODES['report'].run(types.SimpleNamespace(mode='report', **given))
  return out.read_text()


@pytest.fixture(scope='module')
def read(text):
  return Reader(text)


def test_the_page_is_small_and_loads_nothing(text, read):
  assert all(link.startswith(('#', 'data:')) for link in read.links) and read.links
  assert not re.search(r'url\((?!#)', text) and '<script' not in text
  assert len(text) < 5e6


def test_every_figure_has_a_title_a_name_for_screen_readers_and_a_caption(text, read):
  figures = read.texts['figure']
  assert len(figures) >= 9 and len(figures) == len(read.texts['figcaption'])
  assert all(len(caption.split()) > 8 for caption in read.texts['figcaption'])
  assert text.count('role="img" aria-label=') == text.count('<svg')
  pictures = re.findall(r'role="img" aria-label="([^"]*)"', text)
  titles = {' '.join(title.split()) for title in read.texts['h3']}
  assert all(len(picture.split()) >= 10 for picture in pictures)
  assert len({*pictures}) == len(pictures) and not titles & {*pictures}


def test_pictures_are_described_with_their_numbers(text, finished_run):
  summary = run_dir.read_evaluation(finished_run)
  assert f'{1 - summary["count_accuracy"]:.2%} of held-out scenes are miscounted' in text
  assert f'is\n{summary["count_calibration_error"]:.2%}.' in text
  (norms,) = re.findall(r'logarithmic axis, in nats: ([^"]*)\."', text)
  assert [part.rsplit(' ', 1)[0] for part in norms.split(', ')] == [*gradient_variance.PARTS]


def test_numbers_are_those_of_the_evaluation(read, finished_run):
  summary = run_dir.read_evaluation(finished_run)
  tiles = ' '.join(read.texts['div'])
  low, high = summary['count_accuracy_interval']
  assert f'{summary["count_accuracy"]:.2%}' in tiles and f'{low:.2%} to {high:.2%}' in tiles
  assert f'{summary["elbo"]:.1f}' in tiles and f'{summary["box_iou"]:.3f}' in tiles
  assert f'{summary["ari_fg"]:.3f}' in tiles
  cells = ' '.join(read.texts['td'])
  assert all(str(n) in cells for row in summary['confusion'] for n in row)
  assert 'train.average' in cells and 'likelihood_std' in cells
  names = {row.split('\n')[0] for row in read.texts['tr']}
  for row in (
    'command' + 'main.py --first' + 'main.py --second',
    'versions.jax0.9.80.9.9',
    'commit-abc',
  ):
    assert row in names


def test_runs_are_compared_and_keys_that_forbid_it_are_named(read, text):
  assert 'The runs differ in model.likelihood_std: their ELBOs cannot be compared' in text
  row = read.texts['tr'][[i for i, row in enumerate(read.texts['tr']) if '0.123' in row][0]]
  assert row.split() == ['model.likelihood_std0.20.123']


def test_intervals_belong_to_the_mean():
  values = np.random.default_rng(0).normal(5, 2, 10_000)
  mean, interval = page._mean(values, '.3f')
  low, high = (float(x) for x in interval.split(' to '))
  assert float(mean) == pytest.approx(values.mean(), abs=1e-3)
  assert high - low == pytest.approx(2 * 1.96 * 2 / 100, rel=0.05)


def test_codes_carry_the_labels_of_the_objects_they_overlap():
  """With a model that returns the truth."""

  class Oracle:
    def parse(self, images):
      boxes = np.stack([scenes.boxes[:, 1], scenes.boxes[:, 0] * 0, scenes.boxes[:, 0]], 1)
      latents = Latents(None, np.arange(6.0).reshape(2, 3, 1), None, None)
      fields = dict.fromkeys(ParsedScenes._fields)
      fields |= {'counts': np.array([3, 0]), 'boxes': boxes, 'latents': latents}
      return ParsedScenes(**fields)

  boxes = np.float32([[[0, 0, 9, 9], [20, 20, 9, 9]], [[0, 0, 0, 0], [0, 0, 0, 0]]])
  labels = np.array([[4, 7], [-1, -1]])
  images = np.zeros((2, 30, 30, 1), np.uint8)
  scenes = LabelledScenes(images, np.array([2, 0]), boxes, labels, None, None, None, None)
  codes, named = code_figures.codes_of(Oracle(), scenes)
  assert codes.ravel().tolist() == [0, 1, 2] and named.tolist() == [7, -1, 4]


def test_a_given_file_is_not_replaced(finished_run, tmp_path):
  (tmp_path / 'mine.html').write_text('mine')
  with pytest.raises(UserError, match='exists already'):
    page.write(finished_run, None, [], str(tmp_path / 'mine.html'))
  with pytest.raises(UserError, match='holds no run'):
    page.write(tmp_path, None, [], None)


def test_a_browser_shows_no_error(text, tmp_path):
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
