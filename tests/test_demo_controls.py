"""The page of the demo: what keys, fingers and undo do. Each test starts a browser."""

import time

import demo_page
import numpy as np
import own_images
import pytest
from test_demo import pixels

PAST = 'past.length'


@pytest.fixture(scope='module')
def address(finished_run):
  with demo_page.served(finished_run) as address:
    yield address


def _sample(page, count):
  """Shows a sampled scene with at least so many objects."""
  for _ in range(100):
    with demo_page.answered(page):
      page.click('#generate')
    if page.evaluate('scene.count') >= count:
      return
  pytest.fail('no such scene')


def _press(page, *keys):
  with demo_page.answered(page):
    for key in keys:
      page.keyboard.press(key)


def test_objects_are_reached_edited_and_restored_by_keys_alone(address):
  with demo_page.opened(address) as page:
    _sample(page, 2)
    before, steps = page.evaluate('scene'), page.evaluate(PAST)
    page.focus('#remove')  # disabled, so that nothing has the focus
    page.focus('#generate')
    for _ in range(9):
      page.keyboard.press('Tab')
      if page.evaluate("document.activeElement.closest('#objects button') !== null"):
        break
    page.keyboard.press('Tab')
    page.keyboard.press('Enter')
    assert page.evaluate('held') == 1
    assert page.inner_text('#held').startswith('Object 2: ')
    assert page.get_attribute('#objects li:nth-child(2) button', 'aria-pressed') == 'true'

    _press(page, *5 * ['ArrowRight'])  # faster than they are answered: none is lost
    raw = [scene['latents']['z_where'][1][1] for scene in (before, page.evaluate('scene'))]
    old, new = np.tanh(raw)
    assert new == pytest.approx(min(old + 2 * 5 * 0.02, 1 - 1e-4), abs=1e-3)
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused.startswith('object 2, probability')
    _press(page, 'Delete')
    assert page.evaluate('scene.count') == before['count'] - 1
    assert page.inner_text('#how') == 'edited'

    for _ in range(page.evaluate(PAST) - steps):
      page.keyboard.press('Control+z')
    assert page.evaluate('scene') == before
    assert page.get_attribute('#painted', 'src') == before['canvas']
    page.keyboard.press('Escape')
    assert page.inner_text('#held') == ''


def test_strokes_and_a_cleared_drawing_come_back(address):
  with demo_page.opened(address) as page:
    assert page.is_disabled('#undo')
    drawing = 'paper.toDataURL()'
    states = [page.evaluate(drawing)]
    for x in (0.3, 0.7):
      demo_page.draw(page, [(x, 0.2), (x, 0.6)])
      states.append(page.evaluate(drawing))
    scene = page.evaluate('scene')
    page.click('#clear')
    assert page.evaluate('scene') is None
    page.click('#undo')
    assert page.evaluate(drawing) == states[2] and page.evaluate('scene') == scene
    for state in states[1::-1]:
      page.click('#undo')
      assert page.evaluate(drawing) == state
    assert page.evaluate('scene') is None and page.is_disabled('#undo')


def test_what_is_not_to_be_relied_on_is_said(address, tmp_path):
  with demo_page.opened(address) as page:
    demo_page.draw(page, [(0.3, 0.2), (0.3, 0.6)])
    before = page.inner_text('#doubt')
    own_images.save(np.full((60, 60), 255, np.uint8), tmp_path / 'white.png')
    with demo_page.answered(page):
      page.set_input_files('#file', tmp_path / 'white.png')
    scene = page.evaluate('scene')
    assert scene['doubt'] == 'unlike the training pictures; 1 region unexplained'
    assert page.inner_text('#doubt') == f'Do not rely on this: {scene["doubt"]}.'
    (rect,) = page.query_selector_all('#windows rect.unexplained')
    assert [float(rect.get_attribute(side)) for side in ('y', 'x', 'height', 'width')] == [
      pytest.approx(side, abs=1e-6) for side in scene['unexplained'][0]
    ]
    page.click('#undo')
    assert page.inner_text('#doubt') == before
    page.click('#clear')
    assert page.inner_text('#doubt') == '' and not page.query_selector_all('#windows rect')


def test_what_is_not_explained_is_the_difference_of_input_and_reconstruction(address):
  with demo_page.opened(address) as page:
    with demo_page.answered(page):
      page.click('#example')
    scene = page.evaluate('scene')
    image, canvas = (pixels(scene[name]).astype(int) for name in ('image', 'canvas'))
    shown = pixels(page.evaluate("document.getElementById('residual').toDataURL()"))
    np.testing.assert_array_equal(shown[..., 0], np.abs(image - canvas))
    share = 100 * np.abs(image - canvas).mean() / 255
    explained = 100 * scene['ink_explained']
    assert page.inner_text('#unexplained') == (
      f'on average {share:.1f} % of full brightness; {explained:.0f} % of the ink is explained'
    )
    _sample(page, 1)
    assert page.inner_text('#unexplained').startswith('nothing to explain')


def test_a_finger_draws_drags_objects_and_scrolls_beside_them(address):
  phone = {'viewport': {'width': 390, 'height': 700}, 'has_touch': True, 'is_mobile': True}
  with demo_page.opened(address, **phone) as page:
    assert page.evaluate('document.documentElement.scrollWidth') == 390
    session = page.context.new_cdp_session(page)

    def swipe(x, y, down):
      """A slow touch, from (x, y) on."""
      for i in range(12):
        kind = 'touchMove' if i else 'touchStart'
        points = [{'x': x, 'y': y + down * i / 11}]
        session.send('Input.dispatchTouchEvent', {'type': kind, 'touchPoints': points})
        time.sleep(0.02)
      session.send('Input.dispatchTouchEvent', {'type': 'touchEnd', 'touchPoints': []})
      time.sleep(0.3)

    def scrolled_to(name):
      page.evaluate(f"document.getElementById('{name}').scrollIntoView({{block: 'center'}})")
      time.sleep(0.3)
      return page.locator(f'#{name}').bounding_box(), page.evaluate('scrollY')

    paper, start = scrolled_to('paper')
    with demo_page.answered(page):
      swipe(paper['x'] + paper['width'] / 4, paper['y'] + paper['height'] / 2, -80)
    assert page.evaluate('scrollY') == start
    assert page.evaluate('pen.getImageData(100, 160, 1, 1).data[0]') == 255

    _sample(page, 1)
    # What this model paints is too faint to have a box.
    page.evaluate('{ scene.objects[0].box = [.4, .4, .2, .2]; present(); }')
    raw = page.evaluate('scene.latents.z_where[0][2]')
    scene, start = scrolled_to('scene')
    with demo_page.answered(page):
      swipe(scene['x'] + scene['width'] / 2, scene['y'] + scene['height'] / 2, -40)
    assert page.evaluate('scrollY') == start and page.inner_text('#how') == 'edited'
    moved = np.tanh(page.evaluate('scene.latents.z_where[0][2]')) - np.tanh(raw)
    most = 2 * 40 / scene['height']
    assert moved == pytest.approx(-min(most, 1 + np.tanh(raw)), abs=0.01)

    scene, start = scrolled_to('scene')
    swipe(scene['x'] + 20, scene['y'] + scene['height'] - 20, -150)
    assert page.evaluate('scrollY') > start
