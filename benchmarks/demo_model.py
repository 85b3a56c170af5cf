"""How well the model of the demo counts what people draw, and how long its training takes.

    python -m benchmarks.demo_model [--seeds=3] [--models=multi_digits,demo] [--steps=2000]
        [--folder=runs/demo_model] [--jobs=2] [--kept=docs/demo_model/results.json]
    python -m benchmarks.demo_model --report     only reports the results so far

Each run trains a configuration by its own number of steps, or --steps, and counts 4,000 held-out
scenes of configs/demo.py, and drawings by the lines of `benchmarks.drawings`, which no model has
seen, with the brush of the page. `multi_digits` was the model of the demo before. Seconds are those
of the processor, from the start of the program to the end of the training.
"""

import dataclasses
import importlib
import time
from collections.abc import Sequence

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from benchmarks import drawings, jobs
from benchmarks.jobs import Result

_MODELS = flags.DEFINE_list('models', ['multi_digits', 'demo'], 'Names of files in configs/.')
_BENCHMARK = jobs.Benchmark('demo_model', ('configuration', 'steps', 'seed'))
_SCENES, _OTHER_SEED = 4000, 1  # held out, others than those of the evaluation
_DRAWINGS = 128  # of a kind and size
_BRUSH = 0.13  # of a window, as on the page


def _report() -> str:
  """Trains and tests what is missing, then reports."""
  names = [
    f'{name}/{jobs.STEPS.value or _configuration(name).train.steps}/{seed}'
    for name in _MODELS.value
    for seed in jobs.seeds()
  ]
  return table(_BENCHMARK.run_all(names))


def _configuration(name: str) -> ConfigDict:
  return importlib.import_module(f'air_jax.configs.{name}').get_config()


def _run(run: str) -> None:
  """Trains one run and tests it."""
  import air_jax
  from air_jax.config import schema
  from air_jax.data import loading, preparation
  from air_jax.inference import restore

  name, steps, seed = run.split('/')
  config = _configuration(name)
  config.seed = int(seed)
  config.train.update(steps=int(steps), eval_every=int(steps), checkpoint_every=int(steps))
  folder = _BENCHMARK.folder(run)
  air_jax.train(config, folder / 'run', figures=False, progress=False)
  seconds = time.process_time()
  model = restore.load(folder / 'run')
  data = schema.parse(_configuration('demo')).data
  scenes = loading.load(
    dataclasses.replace(data, seed=data.seed + _OTHER_SEED, test_scenes=_SCENES), 'test'
  )
  held_out = model.parse(np.asarray(scenes.images)).counts == scenes.counts
  drawn: dict[str, dict[str, float]] = {}
  for kind in drawings.KINDS:
    drawn[kind] = {}
    for size in drawings.SIZES:
      made = [*drawings.draw(kind, size, _BRUSH * model.window_size, _DRAWINGS, seed=0)]
      as_drawn = preparation.as_it_is(model.config.data)
      images = [preparation.prepare(each.pixels[..., None], as_drawn).canvas for each in made]
      right = model.parse(np.stack(images)).counts == [each.count for each in made]
      drawn[kind][size] = float(right.mean())
  known = {'configuration': name, 'steps': int(steps), 'seed': int(seed)}
  tested = {'seconds': round(seconds), 'held_out': float(held_out.mean()), 'drawings': drawn}
  jobs.finish(folder, known | tested)


def table(results: Sequence[Result]) -> str:
  """A Markdown table: percent counted right, of each seed."""
  groups: dict[tuple[str, int], list[Result]] = {}
  for run in sorted(results, key=_BENCHMARK.name_of):
    groups.setdefault((run['configuration'], run['steps']), []).append(run)
  heads = [f'`{name}`, {steps:,} steps' for name, steps in groups]
  lines = [f'| counted right, % | {" | ".join(heads)} |', '|' + (1 + len(groups)) * '---|']

  def row(what: str, values: Sequence[Sequence[float]], form: str = '.1f') -> None:
    cells = [', '.join(format(value, form) for value in each) for each in values]
    lines.append(f'| {" | ".join([what, *cells])} |')

  runs = groups.values()
  row('held-out scenes of `demo`', [[100 * run['held_out'] for run in each] for each in runs])
  for kind in drawings.KINDS:
    for size in drawings.SIZES:
      values = [[100 * run['drawings'][kind][size] for run in each] for each in runs]
      row(f'{kind} drawn {size}', values, '.0f')
  row('seconds of a core', [[run['seconds'] for run in each] for each in runs], '.0f')
  return '\n'.join(lines)


main = jobs.program(_run, _report)

if __name__ == '__main__':
  jobs.start(main)
