"""How well objects are counted and segmented, on sets of coloured shapes.

    python -m benchmarks.segmentation [--configurations=tetrominoes,occluding_sprites]
        [--compositings=over,add] [--seeds=3] [--steps=6000] [--search] [--mnist_dir=FOLDER]
        [--folder=runs/segmentation] [--jobs=2] [--kept=docs/segmentation/results.json]
    python -m benchmarks.segmentation --report     only reports the results so far

Each run is a configuration by one way of putting objects together (`model.compositing`), tested on
the held-out scenes of that configuration; with --search once more, with a search for a better
explanation of each scene (`model.sweeps`). Finished runs are kept in the folder, and interrupted
ones continue. The report is printed; the results are written to --kept. In the same folder goes a
figure for each configuration that was trained here: the first scenes, as seed 0 explains them by
the first compositing.
"""

import importlib
import itertools
import pathlib
import statistics
from collections.abc import Sequence

import numpy as np
from absl import flags
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from air_jax.cli import command_line
from benchmarks import jobs
from benchmarks.jobs import Result

_CONFIGURATIONS = flags.DEFINE_list(
  'configurations', ['tetrominoes', 'occluding_sprites'], 'Names of files in configs/.'
)
_COMPOSITINGS = flags.DEFINE_list('compositings', ['over', 'add'], 'Values of model.compositing.')
_SEARCH = flags.DEFINE_bool('search', False, 'Whether to test each run with a search, too.')
_BENCHMARK = jobs.Benchmark('segmentation', ('configuration', 'compositing', 'seed', 'steps'))
# An object costs 28 nats, so that none is split in two.
_SEARCHED = {'model.sweeps': 1, 'objective.prior_end': 1e-12}
_STEPS = 6000
_DRAWN = 6  # scenes of a configuration
# What is reported, in percent, by its heading.
_SHOWN = {
  'count_accuracy': 'counted right',
  'box_f1': 'box F1',
  'ari': 'ARI',
  'ari_fg': 'ARI-FG',
  'mask_iou': 'mask IoU',
  'ap': 'AP',
}


def _report() -> str:
  """Trains and tests what is missing, then reports."""
  jobs.check(_CONFIGURATIONS, command_line.configurations())
  steps = jobs.STEPS.value or _STEPS
  order = itertools.product(jobs.seeds(), _CONFIGURATIONS.value, _COMPOSITINGS.value)
  wanted = {
    f'{name}/{compositing}/{seed}/{steps}': [
      f'{name}/{way}/{seed}/{steps}' for way in _ways(compositing)
    ]
    for seed, name, compositing in order
  }
  results = _BENCHMARK.run_all(wanted)
  for name in _CONFIGURATIONS.value:
    run = _BENCHMARK.folder(f'{name}/{_COMPOSITINGS.value[0]}/0/{steps}/run')
    if run.is_dir() and not jobs.REPORT.value:
      _BENCHMARK.keep_figure(f'{name}.png', found(run))
  return table(results)


def _ways(compositing: str) -> list[str]:
  """How the results of a run are called: by its compositing, and by a search."""
  return [compositing, f'{compositing}, search'] if _SEARCH.value else [compositing]


def _run(name: str) -> None:
  """Trains one run and tests it."""
  import air_jax
  from air_jax.cli.evaluate import evaluate_run

  configuration, compositing, seed, steps = name.split('/')
  folder = _BENCHMARK.folder(name)
  config = importlib.import_module(f'air_jax.configs.{configuration}').get_config()
  config.seed, config.model.compositing = int(seed), compositing
  if jobs.MNIST_DIR.value:
    config.data.mnist_dir = jobs.MNIST_DIR.value
  steps = int(steps)
  config.train.update(steps=steps, eval_every=steps, checkpoint_every=500, draw_every=0)
  summary = air_jax.train(config, folder / 'run', figures=False, progress=False)
  for way in _ways(compositing):
    if way != compositing:
      summary, _ = evaluate_run(folder / 'run', changes=_SEARCHED)
    known = {key: summary[key] for key in ('images', 'elbo', *_SHOWN)}
    result = {'configuration': configuration, 'compositing': way, 'seed': int(seed)}
    jobs.finish(folder / way, result | {'steps': steps} | known)


def found(workdir: pathlib.Path) -> Figure:
  """The first scenes of a run with most objects, what it paints, and true and found segments."""
  import air_jax
  from air_jax.data import loading
  from air_jax.viz import palette
  from air_jax.viz.image_grid import ImageGrid

  colours = np.array([to_rgb('black'), *map(to_rgb, palette.COLOURS)], np.float32)
  grid = ImageGrid(4, _DRAWN)
  for row, name in enumerate(('input', 'reconstruction', 'true segments', 'found segments')):
    grid.name_row(row, name)
  model = air_jax.load(workdir)
  scenes = loading.load(model.config.data, 'test')
  chosen = np.flatnonzero(scenes.counts == scenes.counts.max())[:_DRAWN]
  parsed = model.parse(scenes.images[chosen])
  for column, scene in enumerate(chosen):
    grid.title(0, column, f'true {scenes.counts[scene]}, found {parsed.counts[column]}')
    grid.show(0, column, scenes.images[scene] / np.float32(255))
    grid.show(1, column, parsed.canvases[column])
    for row, segments in ((2, scenes.segments[scene]), (3, parsed.segments[column])):
      grid.show(row, column, colours[segments % len(colours)])
  return grid.figure


def table(results: Sequence[Result]) -> str:
  """A Markdown table of means in percent, with each seed's value of what is counted right."""
  lines = [
    f'| configuration | compositing | steps | {" | ".join(_SHOWN.values())} |',
    '|' + (3 + len(_SHOWN)) * '---|',
  ]
  groups: dict[tuple[str, int, str], list[Result]] = {}
  for run in sorted(results, key=lambda run: run['seed']):
    key = run['configuration'], run['steps'], run['compositing']
    groups.setdefault(key, []).append(run)
  for (configuration, steps, compositing), group in sorted(groups.items(), reverse=True):
    values = {key: [100 * run[key] for run in group] for key in _SHOWN}
    cells = [f'{statistics.mean(values[key]):.2f}' for key in _SHOWN]
    cells[0] += f' ({", ".join(f"{value:.2f}" for value in values["count_accuracy"])})'
    lines.append(f'| `{configuration}` | {compositing} | {steps:,} | {" | ".join(cells)} |')
  return '\n'.join(lines)


main = jobs.program(_run, _report)

if __name__ == '__main__':
  jobs.start(main)
