"""Animations: how reconstructions change during training, and how one is built up step by step.

A frame is a Pillow image; `save_gif` makes an animation of them.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image

from air_jax.types import Latents, Rollout
from air_jax.viz import figures
from air_jax.viz.pillow_grid import PillowGrid

TRAINING_MS, INFERENCE_MS = 160, 900  # how long a frame of training or of inference is shown
_LAST_MS = 2500
_TRAINING_SCENES, _INFERENCE_SCENES = 8, 4  # shown in a frame
_FRAMES = 40  # most in an animation of training
_COLOURS = 64


def training_frame(
  step: int, images: Float[np.ndarray, 'B H W C'], latents: Latents, rolled: Rollout
) -> Image.Image:
  """One frame of training: the first few scenes with their windows, above their reconstructions.

  Args:
    step: training step.
    images: in [0, 1].
    latents: with a leading [B].
    rolled: with a leading [B].
  """
  windows = figures.window_boxes(latents)
  shown = min(_TRAINING_SCENES, len(images))
  grid = PillowGrid(2, shown, f'training step {step:,}')
  for i in range(shown):
    found = int(latents.count[i])
    grid.show(0, i, images[i], windows[i][:found])
    grid.show(1, i, np.asarray(rolled.canvases[i, found]))
  return grid.image


def inference_frames(
  images: Float[np.ndarray, 'B H W C'], latents: Latents, rolled: Rollout
) -> list[Image.Image]:
  """T + 1 frames of inference, before and after each inference step.

  Rows are the scenes with the windows so far, the glimpse that step t decodes, and the canvas so
  far. A scene stays as it is once no more objects are found.

  Args:
    images: in [0, 1].
    latents: with a leading [B].
    rolled: with a leading [B].
  """
  windows, probs = figures.window_boxes(latents), figures.presence(rolled)
  frames = []
  for t in range(windows.shape[1] + 1):
    title = f't = {t}: windows, decoded glimpse, canvas' if t else 't = 0: before the first glimpse'
    grid = PillowGrid(3, min(_INFERENCE_SCENES, len(images)), title)
    for i in range(grid.columns):
      found = min(t, int(latents.count[i]))
      grid.show(0, i, images[i], windows[i][:found])
      if t and t <= found:
        glimpse = np.asarray(rolled.glimpses[i, t - 1, ..., : images.shape[-1]])
        grid.show(1, i, glimpse, frame=t - 1)
      else:
        grid.text(1, i, f'no object\np = {probs[i, t - 1]:.2f}' if t else 'none yet')
      grid.show(2, i, np.asarray(rolled.canvases[i, found]))
    frames.append(grid.image)
  return frames


def choose_frames(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
  """At most 40 frames, closer together at the start of training, where most changes."""
  ends = np.geomspace(1, len(paths), min(_FRAMES, len(paths))).round().astype(int)
  for i in range(1, len(ends)):  # rounding would repeat the first few
    ends[i] = max(ends[i], ends[i - 1] + 1)
  return [paths[end - 1] for end in ends]


def save_gif(frames: Sequence[Image.Image], milliseconds: int, path: pathlib.Path) -> None:
  """Writes frames as a GIF with one palette for all: a palette for each frame would flicker.

  Args:
    frames: of one size.
    milliseconds: how long each is shown; the last one is shown for 2.5 s.
    path: of the GIF file.
  """
  width, height = frames[0].size
  everything = Image.new('RGB', (width, height * len(frames)))
  for i, frame in enumerate(frames):
    everything.paste(frame, (0, i * height))
  palette = everything.quantize(_COLOURS, dither=Image.Dither.NONE)
  first, *rest = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
  shown = [milliseconds] * len(rest) + [_LAST_MS]
  first.save(path, save_all=True, append_images=rest, duration=shown, loop=0, optimize=False)
