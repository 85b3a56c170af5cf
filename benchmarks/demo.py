"""Time from the end of a stroke to the answer on the page of the demo.

    python -m benchmarks.demo [--workdir=FOLDER] [--strokes=50]

Without a run, an untrained model of configs/multi_digits.py answers: its cost is the same. Measured
in headless chromium, after a warm-up, from the end of the stroke until reconstruction, count and
boxes are on the page. The reference is a request that does not run the model.
"""

import shutil
import statistics
import threading

import jax
from absl import app, flags, logging
from playwright.sync_api import Page, sync_playwright

import air_jax
from air_jax.config import schema
from air_jax.configs import multi_digits
from air_jax.inference import predictor
from air_jax.inference.demo import server
from air_jax.model import air

WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run.')
STROKES = flags.DEFINE_integer('strokes', 50, 'Number of strokes.', lower_bound=1)
_WARM_UP = 5
_ANSWERED = 'Number(document.body.dataset.answers || 0)'
_EMPTY_REQUEST = """async () => {
  const started = performance.now();
  await (await fetch('/model')).json();
  return performance.now() - started;
}"""


def main(argv: list[str]) -> None:
  """Measures and prints."""
  del argv
  logging.set_verbosity(logging.WARNING)  # orbax logs every rename
  listening = server.listen('127.0.0.1', 0)
  address = f'http://127.0.0.1:{listening.getsockname()[1]}'
  # Connections wait in the socket until the server is ready.
  threading.Thread(
    target=server.serve, args=(load(WORKDIR.value), listening, '127.0.0.1'), daemon=True
  ).start()
  with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
      executable_path=shutil.which('chromium') or shutil.which('google-chrome'),
      args=['--no-sandbox'],
    )
    page = browser.new_page(viewport={'width': 1000, 'height': 900})
    for _ in range(600):
      try:
        page.goto(address)
        break
      except Exception:  # not yet listening
        page.wait_for_timeout(100)
    page.wait_for_selector('body[data-ready]')
    answers, references = [], []
    for i in range(_WARM_UP + STROKES.value):
      answers.append(_stroke(page, 0.15 + 0.7 * (i % 7) / 6))
      references.append(page.evaluate(_EMPTY_REQUEST))
      if i % 2:
        page.click('#clear')
    browser.close()
  answers, references = answers[_WARM_UP:], references[_WARM_UP:]
  print(f'strokes             {len(answers):8}')
  print(f'stroke to answer    {statistics.median(answers):8.1f} ms, median')
  print(f'                    {max(answers):8.1f} ms, worst')
  print(f'reference           {statistics.median(references):8.1f} ms, a request without the model')


def load(workdir: str | None) -> predictor.Model:
  """The model of a run, or an untrained one."""
  if workdir:
    return air_jax.load(workdir)
  config = schema.parse(multi_digits.get_config())
  model = air.build(config.model)
  return predictor.Model(config, model, air.init(model, jax.random.key(0)), step=0)


def _stroke(page: Page, x: float) -> float:
  """Draws a stroke downwards; returns the milliseconds from its end to the answer on the page."""
  box = page.locator('#paper').bounding_box()
  x, top, bottom = box['x'] + x * box['width'], box['y'] + 80, box['y'] + 230
  page.mouse.move(x, top)
  page.mouse.down()
  page.mouse.move(x, bottom, steps=5)
  page.wait_for_function('!busy && !waiting')
  before = page.evaluate(_ANSWERED)
  page.mouse.up()
  page.wait_for_function(f'{_ANSWERED} > {before}')
  return page.evaluate('Number(document.body.dataset.milliseconds)')


if __name__ == '__main__':
  app.run(main)
