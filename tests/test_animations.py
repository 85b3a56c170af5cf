"""Animations: a frame for each interval, none of later steps; frames show the model's results."""

import shutil

import numpy as np
import pytest
from PIL import Image, ImageSequence

import air_jax
from air_jax.data import loading
from air_jax.inference import run_figures
from air_jax.types import Latents, Rollout
from air_jax.viz import animations, pillow_grid

PITCH = pillow_grid.SIDE + pillow_grid.GAP
FIRST, SECOND = (213, 94, 0), (86, 180, 233)  # colours of inference steps


def frames_of(path):
  with Image.open(path) as animation:
    return [
      (np.asarray(frame.convert('RGB')), frame.info['duration'])
      for frame in ImageSequence.Iterator(animation)
    ]


def place(row, column):
  """The slice of a frame that shows an image."""
  top = pillow_grid.HEADER + row * PITCH
  left = pillow_grid.GAP + column * PITCH
  return slice(top, top + pillow_grid.SIDE), slice(left, left + pillow_grid.SIDE)


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


def test_frames_are_recorded_from_the_first_step_to_the_last(finished_run):
  taken = sorted(path.name for path in (finished_run / 'frames').iterdir())
  assert taken == [f'{step:08}.png' for step in (0, 5, 10, 15, 20)]
  frames = frames_of(finished_run / 'figures' / 'learning.gif')
  assert [shown for _, shown in frames] == [160, 160, 160, 160, 2500]
  for (pixels, _), name in zip(frames, taken, strict=True):
    with Image.open(finished_run / 'frames' / name) as file:
      original = np.asarray(file).astype(int)
    assert np.abs(pixels - original).mean() < 4  # of 255: 64 colours for all
  assert len(frames_of(finished_run / 'figures' / 'inference.gif')) == 4


def frames_in(folder, step):
  assert step in (15, 20)
  return sorted(path.stem for path in (folder / 'frames').iterdir())


def test_an_interrupted_run_discards_later_frames_and_records_them_again(
  copy, finished_run, run_config, monkeypatch
):
  for step in ('15', '20'):
    shutil.rmtree(copy / 'checkpoints' / step)
  before = (copy / 'frames' / '00000010.png').read_bytes()
  seen = []
  monkeypatch.setattr(
    run_figures, 'record_frame', lambda model, *_: seen.append(frames_in(copy, model.step))
  )
  air_jax.train(run_config, copy)  # from step 10 on
  assert seen == [['00000000', '00000005', '00000010']] * 2  # at steps 15 and 20
  assert (copy / 'frames' / '00000010.png').read_bytes() == before
  monkeypatch.undo()
  model = air_jax.load(finished_run)
  run_figures.record_frame(model, loading.load(model.config.data, 'test'), copy)
  again, first = (folder / 'frames' / '00000020.png' for folder in (copy, finished_run))
  assert again.read_bytes() == first.read_bytes()


def test_animations_are_short_and_have_most_frames_of_the_start():
  for number in (1, 2, 39, 40, 41, 57, 200):
    chosen = animations.choose_frames(list(range(number)))
    assert len(chosen) == min(number, 40) and chosen[0] == 0 and chosen[-1] == number - 1
    steps = np.diff(chosen)
    assert (steps >= 1).all() and (np.diff(steps) >= -1).all()


def test_inference_shows_each_step_until_no_more_objects_are_found(scene):
  frames = [np.asarray(frame) for frame in animations.inference_frames(*scene)]
  assert len(frames) == 3
  for t, frame in enumerate(frames):
    for column, found in ((0, min(t, 1)), (1, 0)):
      canvas = frame[place(2, column)]
      assert (canvas == round(255 * (0.4 + 0.2 * found))).all()
      seen = frame[place(0, column)]
      first = (seen == FIRST).all(-1)
      assert first.any() == bool(found) and not (seen == SECOND).all(-1).any()
      if found:
        rows, columns = np.nonzero(first)
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (25, 75, 50, 99)
  painted = frames[1][place(1, 0)]
  assert (painted[5:-5, 5:-5] == 255).all() and (painted[0] == FIRST).all()
  for t in (0, 2):
    assert 0 < (frames[t][place(1, 0)] < 200).mean() < 0.2  # text: 'none yet', 'no object'


def test_numbers_that_are_not_finite_do_not_end_a_run(scene):
  images, latents, rolled = scene
  latents = latents._replace(z_where=np.full((2, 2, 3), np.nan))
  rolled = rolled._replace(canvases=np.full((2, 3, 10, 10, 1), np.nan))
  with np.errstate(invalid='raise'):
    assert len(animations.inference_frames(images, latents, rolled)) == 3
