"""Moving pictures: how explanations change while a model learns, how one comes about in steps."""

import os

import jax
import numpy as np
from matplotlib import colors
from PIL import Image, ImageDraw, ImageFont

from air_jax.model import spatial_transformer as transformer
from air_jax.objectives.distributions import count_log_probs, presence_probs
from air_jax.viz import figures, plots

CLOSELY = 20  # rounds of training filmed one by one, where most changes
_SCENES = 8  # in the film of training
_EXPLAINED = 4  # scenes in that of inference
_FRAMES = 40  # most in a film
_SHOWN_MS, _STEP_MS, _LAST_MS = 160, 900, 2500  # a frame of training, of inference, the last one
_COLOURS = 64
_SIDE, _GAP, _HEADER = 100, 6, 20  # pixels of a picture, between two, of the text above


def film(learning, state, scenes, folder):
  """Takes one frame of how a run learns, into `frames/` of its folder.

  Args:
    learning: `Learner`.
    state: `TrainState`.
    scenes: held-out `LabelledScenes`; the same few are shown every time.
    folder: the run's folder.
  """
  images, latents, rolled = figures.explain_few(learning, state, scenes)
  windows = _boxes(latents)
  shown = min(_SCENES, len(images))
  sheet = _Sheet(2, shown, f'step {int(state.step):,}')
  for i in range(shown):
    found = int(latents.count[i])
    sheet.picture(0, i, images[i], windows[i][:found])
    sheet.picture(1, i, rolled.canvases[i, found])
  path = _frames(folder) / f'{int(state.step):08}.png'
  path.parent.mkdir(exist_ok=True)
  draft = path.with_suffix('.tmp')
  sheet.image.save(draft, 'png')
  os.replace(draft, path)


def forget(folder, step):
  """Removes the frames of later steps, left by an interruption."""
  for path in _frames(folder).glob('*.png'):
    if int(path.stem) > step:
      path.unlink()


def draw(learning, state, scenes, folder):
  """Makes `learning.gif` of the frames there are, and `inference.gif`.

  Args:
    learning: `Learner`.
    state: `TrainState`.
    scenes: held-out `LabelledScenes`.
    folder: the run's folder; films go to `figures/`, replacing earlier ones.

  Returns:
    paths of the GIF files.
  """
  films = {'inference': (inference(*figures.explain_few(learning, state, scenes)), _STEP_MS)}
  taken = sorted(_frames(folder).glob('*.png'))
  if taken:
    films['learning'] = [_read(path) for path in _choose(taken)], _SHOWN_MS
  paths = []
  for name, (frames, milliseconds) in films.items():
    paths.append(folder / 'figures' / f'{name}.gif')
    paths[-1].parent.mkdir(parents=True, exist_ok=True)
    _save(frames, milliseconds, paths[-1])
  return paths


def inference(images, latents, rolled):
  """How the explanation of a few scenes comes about.

  Args:
    images: [B, H, W, C] in [0, 1].
    latents: `Latents` with a leading [B].
    rolled: `Rollout` with a leading [B].

  Returns:
    T + 1 Pillow images, before and after each step: the scenes with the windows so far, what the
    step painted, the canvas so far. A scene rests once no more is found.
  """
  windows = _boxes(latents)
  probs = jax.vmap(lambda logits: presence_probs(count_log_probs(logits)))(rolled.presence_logits)
  frames = []
  for t in range(windows.shape[1] + 1):
    title = (
      f'step {t}: where it looks, what it paints, all so far' if t else 'before the first step'
    )
    sheet = _Sheet(3, min(_EXPLAINED, len(images)), title)
    for i in range(sheet.columns):
      found = min(t, int(latents.count[i]))
      sheet.picture(0, i, images[i], windows[i][:found])
      if t and t <= found:
        sheet.picture(1, i, rolled.glimpses[i, t - 1], colour=_colour(t - 1))
      elif t:
        sheet.text(1, i, f'no more:\np = {probs[i, t - 1]:.2f}')
      sheet.picture(2, i, rolled.canvases[i, found])
    frames.append(sheet.image)
  return frames


class _Sheet:
  """A grid of pictures under a line of text; matplotlib would take a second for each."""

  def __init__(self, rows, columns, title):
    self.columns = columns
    size = columns * (_SIDE + _GAP) + _GAP, rows * (_SIDE + _GAP) + _HEADER
    self.image = Image.new('RGB', size, 'white')
    self._pen = ImageDraw.Draw(self.image)
    self._pen.text((_GAP, 3), title, 'black', ImageFont.load_default(13))

  def picture(self, row, column, pixels, boxes=(), colour=None):
    """Shows pixels [h, w, C] in [0, 1], with boxes [M, 4] in shares of a side, or a frame."""
    pixels = np.round(255 * np.clip(np.nan_to_num(pixels), 0, 1)).astype(np.uint8)
    shown = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert('RGB')
    shown = shown.resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(shown)
    for t, (top, left, height, width) in enumerate(_SIDE * np.nan_to_num(boxes)):
      pen.rectangle((left, top, left + width, top + height), outline=_colour(t), width=2)
    if colour:
      pen.rectangle((0, 0, _SIDE - 1, _SIDE - 1), outline=colour, width=2)
    self.image.paste(shown, self._corner(row, column))

  def text(self, row, column, text):
    """Writes where a picture might be."""
    left, top = self._corner(row, column)
    self._pen.text((left + 10, top + 34), text, '#777777', ImageFont.load_default(13))

  def _corner(self, row, column):
    return _GAP + column * (_SIDE + _GAP), _HEADER + row * (_SIDE + _GAP)


def _boxes(latents):
  """[B, T, 4] windows (top, left, height, width), in shares of a side."""
  windows = jax.vmap(jax.vmap(transformer.place))(latents.z_where)
  return np.asarray(jax.vmap(jax.vmap(lambda window: transformer.box(window, 1)))(windows))


def _colour(step):
  return colors.to_hex(plots.COLOURS[step % len(plots.COLOURS)])


def _frames(folder):
  return folder / 'frames'


def _choose(paths):
  """At most so many of them, the first ones closer together: learning is fastest there."""
  ends = np.geomspace(1, len(paths), min(_FRAMES, len(paths))).round().astype(int)
  for i in range(1, len(ends)):  # the first few would fall on one
    ends[i] = max(ends[i], ends[i - 1] + 1)
  return [paths[end - 1] for end in ends]


def _read(path):
  with Image.open(path) as file:
    return file.convert('RGB')


def _save(frames, milliseconds, path):
  """Writes a film whose frames share a palette: one for each would flicker."""
  width, height = frames[0].size
  everything = Image.new('RGB', (width, height * len(frames)))
  for i, frame in enumerate(frames):
    everything.paste(frame, (0, i * height))
  palette = everything.quantize(_COLOURS, dither=Image.Dither.NONE)
  first, *rest = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
  shown = [milliseconds] * len(rest) + [_LAST_MS]
  first.save(path, save_all=True, append_images=rest, duration=shown, loop=0, optimize=False)
