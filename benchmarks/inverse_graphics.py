"""Solids on a table found without labels, by two kinds of gradient, and with labels.

    python -m benchmarks.inverse_graphics [--tables=one,several] [--steps=2000] [--seeds=3]
        [--ways=derivatives,differences,labels_1,labels_10,labels_100]
        [--folder=runs/inverse_graphics] [--jobs=2] [--kept=docs/inverse_graphics/results.json]
    python -m benchmarks.inverse_graphics --report     only reports the results so far

Scenes are those of `configs/inverse_graphics.py` with 0 to 3 objects (`several`), or with one. Ways
to train: without labels by derivatives of the renderer (`derivatives`) or by differences of its
pictures (`differences`), and the same networks with labels of a share of the training scenes, in
percent (`labels_1`). All are tested on held-out scenes. The report is printed; the results are
written to --kept, and to the same folder a figure of the first scenes that seed 0 explains.
"""

import itertools
import pathlib
import statistics
from collections.abc import Sequence

import jax
import numpy as np
from absl import flags
from matplotlib.figure import Figure

from benchmarks import jobs
from benchmarks.jobs import Result

_COUNTS = {'one': 1, 'several': 3}  # most objects; steps of the model
_SHARES = {'labels_1': 0.01, 'labels_10': 0.1, 'labels_100': 1.0}
_NETWORKS = {'derivatives': 'build', 'differences': 'build_with_differences'}
_WAYS = (*_NETWORKS, *_SHARES)
_TABLES = flags.DEFINE_list('tables', list(_COUNTS), 'Kinds of scenes.')
_CHOSEN = flags.DEFINE_list('ways', list(_WAYS), 'Ways to train.')
_BENCHMARK = jobs.Benchmark('inverse_graphics', ('scenes', 'way', 'seed', 'steps'))
_STEPS = 2000
_TEST_SCENES = 4000
_DRAWN = 6
_SHOWN = {
  'count_accuracy': ('counted right, %', 100.0, '.2f'),
  'kind_accuracy': ('kind, %', 100.0, '.2f'),
  'place_error': ('place, table widths', 1.0, '.4f'),
  'rotation_error': ('rotation, degrees', 1.0, '.2f'),
}


def _report() -> str:
  """Trains and tests what is missing, then reports."""
  jobs.check(_TABLES, _COUNTS)
  jobs.check(_CHOSEN, _WAYS)
  steps = jobs.STEPS.value or _STEPS
  order = itertools.product(_TABLES.value, jobs.seeds(), _CHOSEN.value)
  results = _BENCHMARK.run_all(f'{scenes}/{way}/{seed}/{steps}' for scenes, seed, way in order)
  run = _BENCHMARK.folder(f'several/derivatives/0/{steps}/run')
  if run.is_dir() and not jobs.REPORT.value:
    _BENCHMARK.keep_figure('found.png', found(run))
  return table(results)


def _run(name: str) -> None:
  """Trains one run and tests it."""
  import air_jax
  from air_jax.config import schema
  from air_jax.configs import inverse_graphics
  from air_jax.data import loading
  from air_jax.evaluation import held_out
  from benchmarks import supervised

  scenes, way, seed, steps = name.split('/')
  folder, number = _BENCHMARK.folder(name), int(steps)
  config = inverse_graphics.get_config()
  config.seed = int(seed)
  config.data.test_scenes = _TEST_SCENES
  config.model.max_steps = config.data.max_objects = _COUNTS[scenes]
  config.data.min_objects = 1 if scenes == 'one' else 0
  config.model.networks = f'air_jax.model.solids:{_NETWORKS.get(way, "build")}'
  config.train.update(steps=number, eval_every=number, checkpoint_every=500, draw_every=0)
  if way in _NETWORKS:
    summary = air_jax.train(config, folder / 'run', figures=False, progress=False)
  else:
    parsed = schema.parse(config)
    train_scenes = loading.load(parsed.data, 'train')
    labelled = int(_SHARES[way] * len(train_scenes.images))
    train_scenes = jax.tree.map(lambda x: x[:labelled], train_scenes)
    model, params = supervised.train(parsed, train_scenes, number)
    test_scenes = loading.load(parsed.data, 'test')
    _, summary = held_out.evaluate(model, params, test_scenes, parsed.seed, number)
  known = {key: summary[key] for key in ('images', *_SHOWN) if key in summary}
  result = {'scenes': scenes, 'way': way, 'seed': int(seed), 'steps': number}
  jobs.finish(folder, result | known)


def found(workdir: pathlib.Path) -> Figure:
  """The first scenes of a run with most objects, what it renders, and both from above."""
  import air_jax
  from air_jax.data import loading
  from air_jax.inference import run_figures

  model = air_jax.load(workdir)
  scenes = loading.load(model.config.data, 'test')
  chosen = np.flatnonzero(scenes.counts == scenes.counts.max())[:_DRAWN]
  return run_figures.solids(model, scenes, chosen)


def table(results: Sequence[Result]) -> str:
  """A Markdown table of means over seeds, with the least and the most."""
  heads = [head for head, _, _ in _SHOWN.values()]
  lines = [f'| scenes | trained by | steps | seeds | {" | ".join(heads)} |']
  lines.append('|' + (4 + len(heads)) * '---|')
  groups: dict[tuple[str, str, int], list[Result]] = {}
  for run in results:
    groups.setdefault((run['scenes'], run['way'], run['steps']), []).append(run)
  for (scenes, way, steps), group in sorted(groups.items(), key=lambda item: _rank(item[0])):
    cells = [
      _cell([run[key] for run in group if key in run], *how[1:]) for key, how in _SHOWN.items()
    ]
    lines.append(f'| {scenes} | `{way}` | {steps:,} | {len(group)} | {" | ".join(cells)} |')
  return '\n'.join(lines)


def _rank(key: tuple[str, str, int]) -> tuple[int, int, int]:
  scenes, way, steps = key
  return list(_COUNTS).index(scenes), _WAYS.index(way), steps


def _cell(values: Sequence[float], unit: float, form: str) -> str:
  if not values:
    return '-'
  least, mean, most = (
    format(unit * value, form) for value in (min(values), statistics.mean(values), max(values))
  )
  return f'{mean} ({least} to {most})' if len(values) > 1 else mean


main = jobs.program(_run, _report)

if __name__ == '__main__':
  jobs.start(main)
