"""Draws the figures and animations of a run into its folder."""

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image

from air_jax.evaluation import metrics
from air_jax.evaluation.held_out import Evaluation
from air_jax.inference.predictor import Model
from air_jax.runtime import files
from air_jax.storage import run_dir
from air_jax.types import LabelledScenes, Latents, Rollout
from air_jax.viz import animations, figures, plots, table_top
from air_jax.viz.backend import Figure


def draw_run(
  model: Model,
  scenes: LabelledScenes,
  evaluation: Evaluation,
  records: Sequence[plots.Record],
  folder: pathlib.Path,
) -> list[pathlib.Path]:
  """Draws all still figures of a run, replacing earlier ones.

  Args:
    model: the model to draw.
    scenes: held out.
    evaluation: of the model on these scenes.
    records: of the run's metrics.jsonl.
    folder: the run's, or another; figures go to its `figures/`.

  Returns:
    paths of the PNG files.
  """
  chosen = typical(scenes, evaluation)
  samples = model.generate(figures.NUMBER_OF_SAMPLES, jax.random.key(model.config.seed)).canvases
  canvas_size = scenes.images.shape[1]
  drawn = {
    'reconstructions': reconstructions(model, scenes, chosen),
    'attention': figures.attention(evaluation.windows, evaluation.counts, canvas_size),
    'training': plots.training(records, metrics.chance_error(scenes.counts)),
    'samples': figures.samples(samples),
  }
  if model.model.networks.pose:
    drawn['solids'] = solids(model, scenes, chosen)
  return _save(drawn, folder)


def draw_population(
  members: Sequence[Sequence[plots.Record]], chance: float | None, folder: pathlib.Path
) -> list[pathlib.Path]:
  """Draws how the members of a population learned, from the records of each.

  Args:
    members: for each the records of its metrics.jsonl.
    chance: `metrics.chance_error` of the held-out scenes.
    folder: figures go to its `figures/`.
  """
  return _save({'population': plots.population(members, chance=chance)}, folder)


def draw_scenes(scenes: LabelledScenes, folder: pathlib.Path) -> list[pathlib.Path]:
  """Draws examples of a data set; this needs no model."""
  return _save({'scenes': figures.gallery(scenes)}, folder)


def draw_variance(summary: Mapping[str, Any], folder: pathlib.Path) -> list[pathlib.Path]:
  """Draws the variance of gradients that `gradient_variance.measure` found."""
  return _save({'variance': plots.variance(summary)}, folder)


def typical(scenes: LabelledScenes, evaluation: Evaluation) -> np.ndarray:
  """Indices of scenes of each count in turn, as many as `figures.reconstructions` shows."""
  ordered = figures.each_count_in_turn(np.asarray(scenes.counts))
  empty = (np.asarray(scenes.counts) == 0) & (np.asarray(evaluation.counts) == 0)
  return np.r_[ordered[~empty[ordered]], ordered[empty[ordered]]][: figures.SHOWN]


def reconstructions(model: Model, scenes: LabelledScenes, chosen: np.ndarray) -> Figure:
  """`figures.reconstructions` of the scenes with the chosen indices."""
  images, latents, rolled = _explain(model, scenes, chosen)
  counts = np.asarray(scenes.counts)[chosen]
  return figures.reconstructions(images, counts, latents, rolled)


def solids(model: Model, scenes: LabelledScenes, chosen: np.ndarray) -> Figure:
  """`table_top.solids` of the scenes with the chosen indices."""
  parsed = model.parse(np.asarray(scenes.images)[chosen])
  shown = jax.tree.map(lambda x: np.asarray(x)[chosen], scenes)
  assert parsed.poses is not None
  return table_top.solids(shown, parsed.counts, parsed.canvases, parsed.poses)


def record_frame(model: Model, scenes: LabelledScenes, folder: pathlib.Path) -> None:
  """Records the model's reconstruction of a few scenes as `frames/STEP.png` of the run's folder.

  A call with the same scenes at another training step shows the same few.
  """
  frame = animations.training_frame(model.step, *_explain(model, scenes, _for_animation(scenes)))
  png = io.BytesIO()
  frame.save(png, 'png')
  _frames(folder).mkdir(parents=True, exist_ok=True)
  files.write_atomic(_frames(folder) / f'{model.step:08}.png', png.getvalue())


def draw_animations(
  model: Model, scenes: LabelledScenes, run: pathlib.Path, folder: pathlib.Path
) -> list[pathlib.Path]:
  """Makes `inference.gif`, and `learning.gif` of the recorded frames, if there are any.

  Args:
    model: the model to draw.
    scenes: held out.
    run: folder of the run, which holds the frames.
    folder: the run's, or another; animations go to its `figures/`, replacing earlier ones.

  Returns:
    paths of the GIF files.
  """
  explained = _explain(model, scenes, _for_animation(scenes))
  target = _figures(folder)
  paths = [target / 'inference.gif']
  animations.save_gif(animations.inference_frames(*explained), animations.INFERENCE_MS, paths[0])
  if recorded := sorted(_frames(run).glob('*.png')):
    frames = [_read(path) for path in animations.choose_frames(recorded)]
    paths.append(target / 'learning.gif')
    animations.save_gif(frames, animations.TRAINING_MS, paths[1])
  return paths


def _explain(
  model: Model, scenes: LabelledScenes, chosen: np.ndarray
) -> tuple[np.ndarray, Latents, Rollout]:
  """(images in [0, 1], `Latents`, `Rollout`) of the scenes with the chosen indices."""
  images = np.asarray(scenes.images[chosen])
  return images / np.float32(255), *model.explain(images)


def _for_animation(scenes: LabelledScenes) -> np.ndarray:
  """Indices of a few scenes, those with most objects first."""
  counts = np.asarray(scenes.counts)
  few = figures.each_count_in_turn(counts)[: figures.SHOWN]
  return few[np.argsort(-counts[few], stable=True)]


def _save(drawn: Mapping[str, Figure], folder: pathlib.Path) -> list[pathlib.Path]:
  paths = []
  for name, figure in drawn.items():
    paths.append(_figures(folder) / f'{name}.png')
    figure.savefig(paths[-1], dpi=110)
  return paths


def _figures(folder: pathlib.Path) -> pathlib.Path:
  target = folder / 'figures'
  target.mkdir(parents=True, exist_ok=True)
  return target


def _frames(folder: pathlib.Path) -> pathlib.Path:
  return folder / run_dir.FRAMES


def _read(path: pathlib.Path) -> Image.Image:
  with Image.open(path, formats=('PNG',)) as file:
    return file.convert('RGB')
