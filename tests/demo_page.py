"""The demo, started through main.py, and a browser that opens its page."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).parent.parent


@contextlib.contextmanager
def served(folder, env=None):
  """The address of a demo of a copy of a run; Ctrl-C must end it without an error."""
  with contextlib.ExitStack() as stack:
    run = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())) / 'run'
    shutil.copytree(folder, run)  # the demo keeps there what held-out images are like
    command = [sys.executable, ROOT / 'main.py', '--mode=demo', f'--workdir={run}', '--port=0']
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    process = stack.enter_context(subprocess.Popen(command, env=env or os.environ, **pipes))
    try:
      line = process.stdout.readline()
      assert line.startswith('draw at http://'), process.stderr.read()
      yield line.split()[2]
      process.send_signal(signal.SIGINT)
      _, errors = process.communicate(timeout=60)
      assert process.returncode == 0 and not errors
    finally:
      process.kill()


@contextlib.contextmanager
def opened(address, **options):
  """The page in a browser, opened with options; nothing may be written to its console."""
  browser = shutil.which('chromium') or shutil.which('google-chrome')
  if browser is None:
    pytest.skip('no chromium')
  said = []
  with sync_playwright() as playwright:
    chromium = playwright.chromium.launch(executable_path=browser, args=['--no-sandbox'])
    page = chromium.new_page(**{'viewport': {'width': 1000, 'height': 900}} | options)
    page.on('console', lambda message: said.append(message.text))
    page.on('pageerror', lambda error: said.append(str(error)))
    page.goto(address)
    page.wait_for_selector('body[data-ready]')
    yield page
    chromium.close()
  assert not said


def draw(page, *strokes):
  """Draws strokes, lists of points (x, y) in fractions of the canvas; waits for the answer."""
  for points in strokes:
    with answered(page):
      (x, y), *others = (_pixel(page, '#paper', point) for point in points)
      page.mouse.move(x, y)
      page.mouse.down()
      for x, y in others:
        page.mouse.move(x, y, steps=5)
      page.mouse.up()


def drag(page, box, right, down):
  """Drags the object in a box (top, left, height, width), in fractions of the reconstruction."""
  top, left, height, width = box
  x, y = left + width / 2, top + height / 2
  with answered(page):
    page.mouse.move(*_pixel(page, '#scene', (x, y)))
    page.mouse.down()
    page.mouse.move(*_pixel(page, '#scene', (x + right, y + down)), steps=5)
    page.mouse.up()


@contextlib.contextmanager
def answered(page):
  """Waits until every request made inside the block has been answered."""
  before = page.evaluate('Number(document.body.dataset.answers || 0)')
  yield
  page.wait_for_function(f'Number(document.body.dataset.answers || 0) > {before}')
  page.wait_for_function('!busy && !waiting')


def _pixel(page, name, point):
  box = page.locator(name).bounding_box()
  return box['x'] + point[0] * box['width'], box['y'] + point[1] * box['height']
