"""Whether a model says when it is out of its depth: on scenes unlike those it was trained on.

    python -m benchmarks.out_of_depth [--mnist_dir=FOLDER] [--seeds=3] [--steps=2000]
        [--folder=runs/out_of_depth] [--jobs=2] [--kept=docs/out_of_depth/results.json]
    python -m benchmarks.out_of_depth --report     only reports the results so far

Each run trains configs/multi_mnist.py and measures what its held-out scenes are like. Then it
parses as many others of held-out digits, copies of these that are inverted, noisy or dim, and
scenes with the same digits at other sizes (at twice the size one digit at most fits). Of each kind
it reports how many counts are right, and of the wrong and of the right ones how many are flagged:
called unlike the training pictures, or said to have unexplained regions. Of the held-out scenes
nearly all are right and few should be flagged; the calibration error is that of their counts.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from air_jax.config.sections import DataConfig
from benchmarks import jobs
from benchmarks.jobs import Result

_BENCHMARK = jobs.Benchmark('out_of_depth', ('steps', 'seed'))
_STEPS = 2000
_SCENES = 4000  # measured, and of each kind
_OTHER_SEED = 1  # of scenes that were not measured
_NOISES = 0.02, 0.05, 0.1, 0.2, 0.3, 0.5  # deviation of a pixel
_DIM = 0.5, 0.75  # of the brightness
_SIZES: dict[str, dict[str, Any]] = {
  'half size': {'min_scale': 0.5, 'max_scale': 0.5},
  '1.5 times the size': {'min_scale': 1.5, 'max_scale': 1.5},
  'twice the size': {'min_scale': 2.0, 'max_scale': 2.0, 'max_objects': 1},
}
_HELD_OUT = 'held out'


def _report() -> str:
  """Trains and tests what is missing, then reports."""
  steps = jobs.STEPS.value or _STEPS
  return table(_BENCHMARK.run_all(f'{steps}/{seed}' for seed in jobs.seeds()))


def _run(name: str) -> None:
  """Trains one run and tests it."""
  import air_jax
  from air_jax.configs import multi_mnist
  from air_jax.evaluation import metrics
  from air_jax.inference import restore

  steps, seed = name.split('/')
  config = multi_mnist.get_config()
  config.seed = int(seed)
  config.data.update(mnist_dir=jobs.MNIST_DIR.value, test_scenes=_SCENES)
  config.train.update(steps=int(steps), eval_every=int(steps), checkpoint_every=500)
  folder = _BENCHMARK.folder(name)
  air_jax.train(config, folder / 'run', figures=False, progress=False)
  model = restore.load_with_reference(folder / 'run')
  kinds = {}
  for kind, images, truth in scenes_of(model.config.data):
    parsed = model.parse(images)
    right = parsed.counts == truth
    probs = np.take_along_axis(parsed.count_probs, parsed.counts[:, None], 1)[:, 0]
    unlike, unexplained = parsed.unlike, parsed.regions.any((1, 2))
    kinds[kind] = flagged(right, unlike | unexplained) | {
      'mean_probability': float(probs.mean()),
      'calibration_error': metrics.calibration_error(metrics.calibration(probs, right)),
      'ink_explained': float(parsed.ink_explained.mean()),
      'unlike': float(unlike.mean()),
      'unexplained': float(unexplained.mean()),
    }
  jobs.finish(folder, {'steps': int(steps), 'seed': int(seed), 'kinds': kinds})


def scenes_of(
  data: DataConfig,
) -> Iterator[tuple[str, UInt8[np.ndarray, 'B S S C'], Int[np.ndarray, ' B']]]:
  """The scenes of each kind: its name, images and true counts.

  Args:
    data: of the run; the scenes are others than those it is evaluated on.
  """
  from air_jax.data import loading

  data = dataclasses.replace(data, seed=data.seed + _OTHER_SEED)
  held_out = loading.load(data, 'test')
  images, truth = np.asarray(held_out.images), np.asarray(held_out.counts)
  yield _HELD_OUT, images, truth
  yield 'inverted', 255 - images, truth
  for level in _NOISES:
    noise = np.random.default_rng(0).normal(0, 255 * level, images.shape)
    noisy = np.clip(np.round(images + noise), 0, 255).astype(np.uint8)
    yield f'noise of {level:g}', noisy, truth
  for share in _DIM:
    yield f'brightness of {share:g}', np.round(share * images).astype(np.uint8), truth
  for kind, changes in _SIZES.items():
    scenes = loading.load(dataclasses.replace(data, **changes), 'test')
    yield kind, np.asarray(scenes.images), np.asarray(scenes.counts)


def flagged(right: np.ndarray, flags: np.ndarray) -> dict[str, float | int | None]:
  """How many answers are right, and the shares of wrong and of right ones that are flagged."""
  return {
    'images': len(right),
    'count_accuracy': float(right.mean()),
    'wrong': int((~right).sum()),
    'flagged': float(flags.mean()),
    'wrong_flagged': float(flags[~right].mean()) if (~right).any() else None,
    'right_flagged': float(flags[right].mean()) if right.any() else None,
  }


def table(results: Sequence[Result]) -> str:
  """Markdown tables, one for each number of steps, with the values of all seeds."""
  lines: list[str] = []
  for steps in sorted({run['steps'] for run in results}):
    runs = sorted((run for run in results if run['steps'] == steps), key=lambda run: run['seed'])
    images = runs[0]['kinds'][_HELD_OUT]['images']
    errors = _values([run['kinds'][_HELD_OUT] for run in runs], 'calibration_error')
    seeds = ', '.join(str(run['seed']) for run in runs)
    lines += [
      f'{steps:,} steps, seeds {seeds}, {images:,} scenes of each kind; calibration error of the '
      f'count on held-out scenes: {errors} %',
      '',
      '| scenes | count accuracy, % | wrong | flagged of wrong, % | flagged of right, % '
      '| flagged of all, % |',
      '|' + 6 * '---|',
    ]
    for kind in runs[0]['kinds']:
      each = [run['kinds'][kind] for run in runs]
      cells = [
        kind,
        _values(each, 'count_accuracy'),
        ', '.join(str(run['wrong']) for run in each),
        *(_values(each, f'{which}flagged') for which in ('wrong_', 'right_', '')),
      ]
      lines.append('| ' + ' | '.join(cells) + ' |')
    lines.append('')
  return '\n'.join(lines)


def _values(each: Sequence[dict[str, Any]], key: str) -> str:
  """Shares of each seed in percent; a dash where there are none."""
  return ', '.join('-' if x[key] is None else f'{100 * x[key]:.1f}' for x in each)


main = jobs.program(_run, _report)

if __name__ == '__main__':
  jobs.start(main)
