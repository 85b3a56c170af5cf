"""Figures of what a model does with scenes: reconstructions, attention, samples. Arrays in."""

import jax
import numpy as np
from jaxtyping import Float, Int

from air_jax.model import spatial_transformer as transformer
from air_jax.objectives.distributions import count_log_probs, presence_probs
from air_jax.types import LabelledScenes, Latents, Rollout
from air_jax.viz.backend import Figure
from air_jax.viz.image_grid import ImageGrid

SHOWN = 10  # scenes in a figure of reconstructions
_SAMPLES = 4, 10  # rows and columns of scenes sampled from the prior
NUMBER_OF_SAMPLES = _SAMPLES[0] * _SAMPLES[1]


def reconstructions(
  images: Float[np.ndarray, 'B H W C'],
  counts: Int[np.ndarray, ' B'],
  latents: Latents,
  rolled: Rollout,
) -> Figure:
  """What each inference step adds to the reconstruction of a few scenes.

  Columns are scenes; those without objects in which none is found are left out. Rows are the input
  with all windows, the canvas after each inference step with that step's window, left out where no
  scene has an object, and the crop that each step encodes with the probability that it finds an
  object. Window and crop of a step that finds one share a colour and a line pattern; the crops of
  other steps, which have no outline, tell whether attention missed an object or the presence head
  denied one.

  Args:
    images: in [0, 1].
    counts: true counts, -1 where not known.
    latents: with a leading [B].
    rolled: with a leading [B].
  """
  steps, found = latents.z_where.shape[1], np.asarray(latents.count)
  boxes, probs = window_boxes(latents), presence(rolled)
  scenes = np.flatnonzero((counts != 0) | (found > 0))
  scenes = scenes if len(scenes) else np.arange(len(images))[:1]
  painted = int(found[scenes].max())  # steps that paint in some scene
  grid = ImageGrid(1 + painted + steps, len(scenes))
  names = ['input', *(f'canvas, t = {t + 1}' for t in range(painted))]
  for row, name in enumerate([*names, *(f'crop, t = {t + 1}' for t in range(steps))]):
    grid.name_row(row, name)
  for column, b in enumerate(scenes):
    grid.show(0, column, images[b])
    grid.title(0, column, f'true {counts[b] if counts[b] >= 0 else "?"}, found {found[b]}')
    for t in range(steps):
      canvas_row, crop_row = 1 + t, 1 + painted + t
      grid.show(crop_row, column, np.asarray(rolled.crops[b, t]))
      if t >= found[b]:
        grid.title(crop_row, column, f'none, p = {probs[b, t]:.2f}')
        if t < painted:
          grid.blank(canvas_row, column, 'unchanged')
        continue
      grid.title(crop_row, column, f'p = {probs[b, t]:.2f}')
      grid.show(canvas_row, column, np.asarray(rolled.canvases[b, t + 1]))
      grid.outline(crop_row, column, np.array([0.02, 0.02, 0.96, 0.96]), t)
      for row in (0, canvas_row):
        grid.outline(row, column, boxes[b, t], t)
  return grid.figure


def attention(
  windows: Float[np.ndarray, 'B T 3'], counts: Int[np.ndarray, ' B'], canvas_size: int
) -> Figure:
  """Where each inference step attends: the fraction of its windows that cover each pixel.

  Steps that find no object in any scene are left out, except the first.

  Args:
    windows: (scale, x, y), as `spatial_transformer.place` gives them.
    counts: predicted; windows of the steps beyond are left out.
    canvas_size: pixels.
  """
  steps = max(int(np.max(counts, initial=0)), 1)
  used = [windows[counts > t, t] for t in range(steps)]
  heats = [_coverage(each, canvas_size) for each in used]
  top = max(heat.max() for heat in heats) or 1.0
  figure = Figure(figsize=(2.4 * steps + 0.9, 3.1), layout='constrained')
  axes = figure.subplots(1, steps, squeeze=False)[0]
  for t, axis in enumerate(axes):
    shown = axis.imshow(heats[t], cmap='cividis', vmin=0, vmax=top)
    axis.set(xticks=[], yticks=[], xlabel='x', ylabel='y')
    axis.set_title(f't = {t + 1}: {len(used[t]):,} windows', fontsize=9)
  bar = figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.02)
  bar.set_label('fraction of windows', fontsize=9)
  bar.ax.tick_params(labelsize=8)
  figure.suptitle('How often the window of inference step t covers a pixel', fontsize=10)
  return figure


def gallery(scenes: LabelledScenes) -> Figure:
  """Scenes of a data set, the first of each count in turn, with their true counts and boxes."""
  columns = _SAMPLES[1]
  chosen = each_count_in_turn(np.asarray(scenes.counts))[:NUMBER_OF_SAMPLES]
  grid = ImageGrid(-(-len(chosen) // columns), min(columns, len(chosen)))
  for i, scene in enumerate(chosen):
    cell = divmod(i, columns)
    image, count = np.asarray(scenes.images[scene]), int(scenes.counts[scene])
    grid.show(*cell, image / np.float32(255))
    grid.title(*cell, _objects(count))
    for box in np.asarray(scenes.boxes[scene, : max(count, 0)]):
      grid.outline(*cell, box / len(image), 0)
  return grid.figure


def samples(canvases: Float[np.ndarray, 'B H W C']) -> Figure:
  """Scenes sampled from the prior, such as `NUMBER_OF_SAMPLES` of them."""
  columns = _SAMPLES[1]
  grid = ImageGrid(-(-len(canvases) // columns), min(columns, len(canvases)))
  for i, canvas in enumerate(canvases):
    grid.show(i // columns, i % columns, canvas)
  grid.title(0, 0, 'scenes sampled from the prior, every count equally likely', align='left')
  return grid.figure


def each_count_in_turn(counts: Int[np.ndarray, ' B']) -> Int[np.ndarray, ' B']:
  """Indices of scenes in rounds: each round has one scene of every count that is left."""
  place_in_queue = np.zeros(len(counts), np.int64)
  for n in np.unique(counts):
    place_in_queue[counts == n] = np.arange(np.sum(counts == n))
  return np.lexsort((counts, place_in_queue))


def window_boxes(latents: Latents) -> Float[np.ndarray, 'B T 4']:
  """Windows (top, left, height, width) as fractions of the canvas; they may reach beyond it."""
  windows = jax.vmap(jax.vmap(transformer.place))(latents.z_where)
  return np.asarray(jax.vmap(jax.vmap(lambda window: transformer.box(window, 1)))(windows))


def presence(rolled: Rollout) -> Float[np.ndarray, 'B T']:
  """Probability that inference step t finds an object, by the presence head."""
  probs = jax.vmap(lambda logits: presence_probs(count_log_probs(logits)))(rolled.presence_logits)
  return np.asarray(probs)


def _coverage(windows: Float[np.ndarray, 'M 3'], canvas_size: int) -> Float[np.ndarray, 'H W']:
  """Fraction of the windows over each pixel: rows times columns, as windows are squares."""
  pixels = (2 * np.arange(canvas_size) + 1) / canvas_size - 1
  x, y = (np.abs(pixels - windows[:, axis, None]) < windows[:, :1] for axis in (1, 2))
  covered = y.T.astype(np.float32) @ x.astype(np.float32)
  return covered / max(len(windows), 1)


def _objects(count: int) -> str:
  if count < 0:
    return 'count unknown'
  return f'{count} object' if count == 1 else f'{count} objects'
