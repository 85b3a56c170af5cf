"""Pictures: what the model sees, step by step; where it looks; what it imagines."""

import functools

import jax
import numpy as np
from matplotlib.figure import Figure

from air_jax.model import air
from air_jax.model import spatial_transformer as transformer
from air_jax.objectives.distributions import count_log_probs, presence_probs
from air_jax.storage import metric_writers
from air_jax.viz import plots
from air_jax.viz.image_grid import Sheet

_SHOWN = 10  # scenes in the picture of reconstructions
_SAMPLES = (4, 10)  # rows and columns of scenes from the prior
NUMBER_OF_SAMPLES = _SAMPLES[0] * _SAMPLES[1]


def draw(learning, state, scenes, evaluation, folder):
  """Draws all pictures of a run into its folder.

  Args:
    learning: `Learner`.
    state: `TrainState`.
    scenes: held-out `LabelledScenes`.
    evaluation: their `Evaluation`.
    folder: the run's folder; pictures go to `figures/`, replacing earlier ones.

  Returns:
    paths of the PNG files.
  """
  model, params = learning.model, state.average
  keys = jax.random.split(jax.random.key(learning.config.seed), NUMBER_OF_SAMPLES)
  pictures = {
    'reconstructions': explained(learning, state, scenes, _few(scenes)),
    'attention': attention(evaluation.windows, evaluation.counts, scenes.images.shape[1]),
    'training': plots.training(metric_writers.read(folder)),
    'samples': samples(np.asarray(_sample(model, params, keys))),
  }
  return _write(pictures, folder)


def draw_scenes(scenes, folder):
  """Draws what a data set looks like, without any model.

  Args:
    scenes: `LabelledScenes`.
    folder: the picture goes to its `figures/`.

  Returns:
    paths of the PNG files.
  """
  return _write({'scenes': gallery(scenes)}, folder)


def draw_variance(summary, folder):
  """Draws what `variance.measure` found.

  Args:
    summary: its dict.
    folder: the picture goes to its `figures/`.

  Returns:
    paths of the PNG files.
  """
  return _write({'variance': plots.variance(summary)}, folder)


def draw_population(homes, folder):
  """Draws how the members of a population learned.

  Args:
    homes: their folders.
    folder: the picture goes to its `figures/`.

  Returns:
    paths of the PNG files.
  """
  return _write(
    {'population': plots.population([metric_writers.read(home) for home in homes])}, folder
  )


def _write(pictures, folder):
  target = folder / 'figures'
  target.mkdir(parents=True, exist_ok=True)
  paths = [target / f'{name}.png' for name in pictures]
  for path, picture in zip(paths, pictures.values(), strict=True):
    picture.savefig(path, dpi=110)
  return paths


@functools.partial(jax.jit, static_argnums=0)
def _parse(model, params, images):
  return jax.vmap(lambda image: air.parse(model, params, image))(images)


@functools.partial(jax.jit, static_argnums=0)
def _sample(model, params, keys):
  return jax.vmap(lambda key: air.decode(model, params, air.sample_prior(model, params, key)))(keys)


def explained(learning, state, scenes, chosen):
  """Explains some scenes, see `reconstructions`.

  Args:
    learning: `Learner`.
    state: `TrainState`.
    scenes: `LabelledScenes`.
    chosen: [M] indices of the scenes to explain.

  Returns:
    matplotlib Figure.
  """
  images = scenes.images[chosen] / np.float32(255)
  seen = _parse(learning.model, state.average, images)
  return reconstructions(images, scenes.counts[chosen], *seen)


def explain_few(learning, state, scenes):
  """Explains the few scenes that `draw` shows, those of most objects first, as numbers.

  Args:
    learning: `Learner`.
    state: `TrainState`.
    scenes: `LabelledScenes`.

  Returns:
    (images [B, H, W, C] in [0, 1], `Latents` and `Rollout` with a leading [B]).
  """
  few = _few(scenes)
  images = scenes.images[few[np.argsort(-scenes.counts[few], stable=True)]] / np.float32(255)
  return images, *jax.device_get(_parse(learning.model, state.average, images))


def _few(scenes):
  return each_count_in_turn(scenes.counts)[:_SHOWN]


def reconstructions(images, counts, latents, rolled):
  """What each step adds to the explanation of a few scenes.

  Columns are scenes; rows the input with the windows found, the canvas after each step with that
  step's window, and the crop each step looked at with the probability that it finds an object.
  Steps that find none are blank.

  Args:
    images: [B, H, W, C] in [0, 1].
    counts: [B] true counts, -1 where not known.
    latents: `Latents` with a leading [B].
    rolled: `Rollout` with a leading [B].

  Returns:
    matplotlib Figure.
  """
  steps, side = latents.z_where.shape[1], images.shape[1]
  windows = jax.vmap(jax.vmap(transformer.place))(latents.z_where)
  boxes = jax.vmap(jax.vmap(lambda window: transformer.box(window, side)))(windows)
  probs = jax.vmap(lambda logits: presence_probs(count_log_probs(logits)))(rolled.presence_logits)
  sheet = Sheet(1 + 2 * steps, len(images))
  names = ['input', *(f'after step {t + 1}' for t in range(steps))]
  for row, name in enumerate([*names, *(f'crop {t + 1}' for t in range(steps))]):
    sheet.name_row(row, name)
  for b, image in enumerate(images):
    found = int(latents.count[b])
    sheet.image(0, b, image)
    there = counts[b] if counts[b] >= 0 else '?'
    sheet.title(0, b, f'{there} there, {found} found')
    for t in range(steps):
      canvas_row, crop_row, colour = 1 + t, 1 + steps + t, _colour(t)
      sheet.title(crop_row, b, f'p = {probs[b, t]:.2f}', colour)
      if t < found:
        sheet.image(canvas_row, b, rolled.canvases[b, t + 1])
        sheet.image(crop_row, b, rolled.crops[b, t])
        for row in (0, canvas_row):
          sheet.outline(row, b, np.asarray(boxes[b, t]) / side, colour)
  return sheet.figure


def attention(windows, counts, canvas_size):
  """Where each step looks: the share of its windows that cover a pixel, over held-out scenes.

  Args:
    windows: [B, T, 3] (scale, x, y).
    counts: [B] predicted; the windows of steps beyond are left out.
    canvas_size: pixels.

  Returns:
    matplotlib Figure.
  """
  steps = windows.shape[1]
  used = [windows[counts > t, t] for t in range(steps)]
  heats = [_coverage(windows, canvas_size) for windows in used]
  top = max(heat.max() for heat in heats) or 1.0
  figure = Figure(figsize=(2.4 * steps + 0.8, 2.9), layout='constrained')
  axes = figure.subplots(1, steps, squeeze=False)[0]
  for t, axis in enumerate(axes):
    shown = axis.imshow(heats[t], cmap='magma', vmin=0, vmax=top)
    axis.set(xticks=[], yticks=[])
    axis.set_title(f'step {t + 1}: {len(used[t]):,} windows', fontsize=9, color=_colour(t))
  figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.02).ax.tick_params(labelsize=7)
  figure.suptitle('share of windows that cover a pixel', fontsize=10)
  return figure


def _coverage(windows, canvas_size):
  """[H, W] share of windows [M, 3] over each pixel; rows times columns, as windows are squares."""
  pixels = (2 * np.arange(canvas_size) + 1) / canvas_size - 1
  x, y = (np.abs(pixels - windows[:, axis, None]) < windows[:, :1] for axis in (1, 2))
  covered = y.T.astype(np.float32) @ x.astype(np.float32)
  return covered / max(len(windows), 1)


def gallery(scenes):
  """Scenes of a data set, each with its true count and boxes.

  Args:
    scenes: `LabelledScenes`; the first of each count in turn are shown.

  Returns:
    matplotlib Figure.
  """
  rows, columns = _SAMPLES
  sheet = Sheet(rows, columns)
  for i, scene in enumerate(each_count_in_turn(scenes.counts)[: rows * columns]):
    place = divmod(i, columns)
    image, count = scenes.images[scene], scenes.counts[scene]
    sheet.image(*place, image / np.float32(255))
    sheet.title(*place, f'{count} there' if count >= 0 else 'unknown')
    for box in scenes.boxes[scene, : max(count, 0)]:
      sheet.outline(*place, box / len(image), 'tab:green')
  return sheet.figure


def samples(canvases):
  """Scenes drawn from the prior.

  Args:
    canvases: [rows * columns, H, W, C].

  Returns:
    matplotlib Figure.
  """
  rows, columns = _SAMPLES
  sheet = Sheet(rows, columns)
  for i, canvas in enumerate(canvases):
    sheet.image(i // columns, i % columns, canvas)
  sheet.title(0, 0, 'scenes drawn from the prior, counts evenly', align='left')
  return sheet.figure


def each_count_in_turn(counts):
  """Indices of scenes, a round of the counts that occur at a time."""
  place_in_queue = np.zeros(len(counts), np.int64)
  for n in np.unique(counts):
    place_in_queue[counts == n] = np.arange(np.sum(counts == n))
  return np.lexsort((counts, place_in_queue))


def _colour(step):
  return plots.COLOURS[step % len(plots.COLOURS)]
