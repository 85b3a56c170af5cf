"""Films: a frame for each round, none from the future; what they show is what the model made."""

import shutil

import numpy as np
import pytest
from PIL import Image, ImageSequence

from air_jax.data import loading
from air_jax.storage import run_dir
from air_jax.training import loop
from air_jax.types import Latents, Rollout
from air_jax.viz import animations

PITCH = animations._SIDE + animations._GAP
RED, GREEN = (214, 39, 40), (44, 160, 44)  # of the first step, of the second


def frames_of(path):
  with Image.open(path) as film:
    return [
      (np.asarray(frame.convert('RGB')), frame.info['duration'])
      for frame in ImageSequence.Iterator(film)
    ]


def place(row, column):
  """The slice of a sheet in which a picture is shown."""
  top = animations._HEADER + row * PITCH
  left = animations._GAP + column * PITCH
  return slice(top, top + animations._SIDE), slice(left, left + animations._SIDE)


@pytest.fixture
def scene():
  """Two scenes of one grey: in the first one object is found, in the second none."""
  images = np.full((2, 10, 10, 1), 0.2, np.float32)
  canvases = np.zeros((2, 3, 10, 10, 1)) + np.array([0.4, 0.6, 0.8])[:, None, None, None]
  rolled = Rollout(*len(Rollout._fields) * (None,))._replace(
    presence_logits=np.array([[9.0, -9.0], [-9.0, -9.0]]),
    canvases=canvases,
    glimpses=np.ones((2, 2, 4, 4, 1)),
  )
  z_where = np.tile([0.0, np.arctanh(0.5), 0.0], (2, 2, 1))  # half the canvas wide, to the right
  return images, Latents(z_where, None, np.array([1, 0]), None), rolled


def test_a_run_is_filmed_from_its_first_step_to_its_last(finished_run):
  taken = sorted(path.name for path in (finished_run / 'frames').iterdir())
  assert taken == [f'{step:08}.png' for step in (0, 5, 10, 15, 20)]
  frames = frames_of(finished_run / 'figures' / 'learning.gif')
  assert [shown for _, shown in frames] == [160, 160, 160, 160, 2500]
  for (pixels, _), name in zip(frames, taken, strict=True):
    with Image.open(finished_run / 'frames' / name) as file:
      original = np.asarray(file).astype(int)
    assert np.abs(pixels - original).mean() < 4  # of 255: 64 colours for all
  assert len(frames_of(finished_run / 'figures' / 'inference.gif')) == 4


def test_a_run_that_was_cut_short_forgets_the_frames_after_and_takes_them_again(
  copy, finished_run, run_config
):
  for step in ('15', '20'):
    shutil.rmtree(copy / 'checkpoints' / step)
  (copy / 'frames' / '00000010.png').write_bytes(b'kept')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(animations, 'film', lambda *args: None)
    patch.setattr(animations, 'draw', lambda *args: [])
    loop.train(run_config, copy)
  assert sorted(path.stem for path in (copy / 'frames').iterdir()) == [
    '00000000', '00000005', '00000010',
  ]  # fmt: skip
  learning, state, _ = run_dir.restore(finished_run)
  scenes = loading.load(learning.config.data, 'test')
  animations.film(learning, state, scenes, copy)
  again, first = (folder / 'frames' / '00000020.png' for folder in (copy, finished_run))
  assert again.read_bytes() == first.read_bytes()


def test_films_are_short_and_closest_where_learning_is_fastest():
  for number in (1, 2, 39, 40, 41, 57, 200):
    chosen = animations._choose(list(range(number)))
    assert len(chosen) == min(number, 40) and chosen[0] == 0 and chosen[-1] == number - 1
    steps = np.diff(chosen)
    assert (steps >= 1).all() and (np.diff(steps) >= -1).all()


def test_inference_shows_step_after_step_and_rests_where_no_more_is_found(scene):
  frames = [np.asarray(frame) for frame in animations.inference(*scene)]
  assert len(frames) == 3
  for t, frame in enumerate(frames):
    for column, found in ((0, min(t, 1)), (1, 0)):
      canvas = frame[place(2, column)]
      assert (canvas == round(255 * (0.4 + 0.2 * found))).all()
      seen = frame[place(0, column)]
      red = (seen == RED).all(-1)
      assert red.any() == bool(found) and not (seen == GREEN).all(-1).any()
      if found:
        rows, columns = np.nonzero(red)
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (25, 75, 50, 99)
  painted = frames[1][place(1, 0)]
  assert (painted[5:-5, 5:-5] == 255).all() and (painted[0] == RED).all()
  assert (frames[0][place(1, 0)] == 255).all()
  assert 0 < (frames[2][place(1, 0)] < 200).mean() < 0.2  # 'no more'


def test_numbers_that_are_not_finite_do_not_end_a_run(scene):
  images, latents, rolled = scene
  latents = latents._replace(z_where=np.full((2, 2, 3), np.nan))
  rolled = rolled._replace(canvases=np.full((2, 3, 10, 10, 1), np.nan))
  with np.errstate(invalid='raise'):
    assert len(animations.inference(images, latents, rolled)) == 3
