"""The package in three functions: `load` a trained model, `train` a configuration, `fit` images."""

import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike
from ml_collections import ConfigDict

from air_jax import import_path
from air_jax.callbacks import Callback
from air_jax.configs import default
from air_jax.data import loading
from air_jax.errors import UserError
from air_jax.inference.figure_writer import FigureWriter
from air_jax.inference.predictor import Model
from air_jax.inference.restore import keep_references, load
from air_jax.progress import Progress
from air_jax.storage.metric_writers import JsonlWriter, TensorBoardWriter
from air_jax.training import loop

__all__ = ['fit', 'load', 'train']


def train(
  config: ConfigDict,
  workdir: str | os.PathLike,
  *,
  data: loading.Split | None = None,
  networks: Callable[..., Any] | str | None = None,
  likelihood: Callable[[], Any] | str | None = None,
  callbacks: Sequence[Callback] = (),
  figures: bool = True,
  progress: bool = True,
) -> dict[str, Any]:
  """Trains, or goes on training, the run in a folder until `config.train.steps`.

  The run's metrics, TensorBoard events, figures and checkpoints are written to the folder.

  Args:
    config: with the keys of configs/default.py; it is not changed.
    workdir: the run's folder.
    data: scenes to train and to evaluate on, in place of those that section `data` describes; see
      `loading.from_arrays`.
    networks: a function of a module, `ModelSpec -> Networks`, or its import path; see
      `air_jax.model.networks.build`. The run keeps the path, so that `load` finds it again.
    likelihood: a name, or a class or function of a module that returns a
      `air_jax.model.likelihoods.Likelihood`, or its import path.
    callbacks: receive every record and figure; see `air_jax.callbacks`.
    figures: whether to draw figures and animations.
    progress: whether to show a progress bar and a line for each evaluation.

  Returns:
    the summary of the evaluation after the last step; see `population_summary.summarize`.

  Raises:
    DivergenceError: NaN or infinity, in a population in every member.
    Interrupted: by Ctrl-C or SIGTERM, after a checkpoint.
    UserError: the configuration is impossible, the data cannot be had, the folder cannot be used,
      belongs to another run or is in use, or every checkpoint is damaged.
  """
  config = config.copy_and_resolve_references()
  for key, given in (('networks', networks), ('likelihood', likelihood)):
    if given is not None:
      path = given if isinstance(given, str) else import_path.of(given, key)
      config.model[key] = path
  if data is not None:
    config.data.update(_described(data))
  writers = [JsonlWriter(workdir), TensorBoardWriter(workdir), *callbacks]
  drawing = [FigureWriter(workdir, writers)] if figures else []
  shown = [Progress()] if progress else []
  summary = loop.train(config, workdir, data=data, callbacks=[*writers, *drawing, *shown])
  if data is not None:  # later calls do not have it
    keep_references(workdir, np.asarray(data.test.images))
  return summary


def fit(
  images: ArrayLike,
  *,
  max_objects: int,
  object_size: float | None = None,
  counts: ArrayLike | None = None,
  steps: int = 2000,
  seed: int = 0,
  workdir: str | os.PathLike | None = None,
  callbacks: Sequence[Callback] = (),
  progress: bool = True,
  **overrides: Any,
) -> Model:
  """Trains a model on images in memory, without labels.

  Args:
    images: [B, S, S] or [B, S, S, C] with C = 1 or 3, uint8, or floats in [0, 1], objects brighter
      than their background.
    max_objects: the most objects in an image.
    object_size: side of a typical object in pixels; None starts from 0.42 of the image's side.
    counts: [B] true numbers of objects, -1 where unknown; used for evaluation only.
    steps: training steps.
    seed: decides initial parameters, batches and noise, and which images are held out.
    workdir: folder to keep the run in; None keeps nothing on disk.
    callbacks: receive every record; see `air_jax.callbacks`.
    progress: whether to show a progress bar and a line for each evaluation.
    overrides: other keys of the configuration, as in `train__batch_size=32`.

  Raises:
    UserError: an argument has a wrong shape, type or value.
  """
  data = loading.from_arrays(images, counts, seed=seed)
  config = _config_of(data, max_objects, object_size, steps, seed)
  for name, value in overrides.items():
    section, _, key = name.partition('__')
    if section not in config or key not in config[section]:
      raise UserError(f'fit has no argument {name!r}; keys are given as in train__batch_size=32')
    config[section][key] = value
  if workdir is not None:
    train(config, workdir, data=data, callbacks=callbacks, progress=progress)
    return load(workdir)
  with tempfile.TemporaryDirectory() as folder:
    shown = [Progress()] if progress else []
    loop.train(config, folder, data=data, callbacks=[*callbacks, *shown])
    return load(folder).with_reference(np.asarray(data.test.images))


def _config_of(data, max_objects, object_size, steps, seed):
  """The default configuration for images in memory."""
  config, side = default.get_config(), data.train.images.shape[1]
  _check('max_objects', max_objects, isinstance(max_objects, int) and max_objects >= 1, '>= 1')
  _check('steps', steps, isinstance(steps, int) and steps >= 1, '>= 1')
  config.seed = seed
  config.data.update(_described(data), max_objects=max_objects)
  config.model.max_steps = max_objects + 1
  config.model.glimpse_size = min(config.model.glimpse_size, side)
  config.model.patch_size = min(config.model.patch_size, side)
  if object_size is not None:
    _check('object_size', object_size, 0 < object_size < side, f'in (0, {side}) pixels')
    # A window is a third wider than its object.
    config.model.size_prior_mean = min(0.95, 4 / 3 * object_size / side)
  config.train.steps = steps
  config.train.batch_size = min(config.train.batch_size, len(data.train.images))
  config.train.eval_every = config.train.checkpoint_every = steps
  return config


def _described(data):
  """The keys of section `data` that say what these scenes are."""
  _, side, _, channels = data.train.images.shape
  return {
    'source': 'arrays',
    'canvas_size': side,
    'colour': channels == 3,
    'train_scenes': len(data.train.images),
    'test_scenes': len(data.test.images),
  }


def _check(name, value, good, allowed):
  if not good:
    raise UserError(f'{name}={value!r} is not allowed; it must be {allowed}')
