"""How well objects are found in people's pictures, beside a threshold and a watershed.

    python -m benchmarks.own_pictures [--pictures=coins,FOLDER:24] [--seeds=3] [--steps=1500]
        [--folder=runs/own_pictures] [--jobs=2] [--kept=docs/own_pictures/results.json]
    python -m benchmarks.own_pictures --report     only reports the results so far

Each run trains configs/folder.py on the pictures of a folder, of which only the size of an object
is said, as FOLDER:PIXELS, and is compared with the truth beside the pictures: label images, points
or counts, see `air_jax.data.picture_truth`. `coins` stands for the picture of that name in
scikit-image, on which there are 24 coins. Compared are the pictures that were held out of training,
or all where a part of each was. The seconds are those from the start of the program to the counts,
of runs that were not interrupted.
"""

import pathlib
import time
from collections.abc import Callable, Sequence

from absl import flags
from PIL import Image

from air_jax.errors import UserError
from benchmarks import jobs
from benchmarks.jobs import Result

_PICTURES = flags.DEFINE_list(
  'pictures', ['coins'], "Folders with the pixels of an object, as FOLDER:24, or 'coins'."
)
_BENCHMARK = jobs.Benchmark('own_pictures', ('pictures', 'seed', 'steps'))
_STEPS = 1500
_COINS, _COIN_PIXELS, _COIN_COUNT = 'coins', 45.0, 24
_WAYS = {
  'AIR': '',
  'threshold (Otsu)': 'otsu',
  'threshold (local)': 'local',
}


def _report() -> str:
  """Trains and tests what is missing, then reports."""
  sets = dict(map(_named, _PICTURES.value))
  steps = jobs.STEPS.value or _STEPS
  names = [f'{name}/{seed}/{steps}' for seed in jobs.seeds() for name in sets]
  return table(_BENCHMARK.run_all(names))


def _named(given: str) -> tuple[str, tuple[pathlib.Path | None, float]]:
  """The name of a set of pictures, with its folder and the pixels of an object."""
  if given == _COINS:
    return given, (None, _COIN_PIXELS)
  folder, colon, pixels = given.rpartition(':')
  try:
    if colon and float(pixels) > 0:
      return pathlib.Path(folder).name, (pathlib.Path(folder), float(pixels))
  except ValueError:
    pass
  raise UserError(f"--pictures: {given!r} must be FOLDER:PIXELS, such as cells:24, or 'coins'")


def _run(name: str) -> None:
  """Trains one run and compares what it finds with the truth."""
  started = time.monotonic()
  import air_jax
  from air_jax.configs import folder as configuration
  from air_jax.inference import evaluate_files

  kind, seed, steps = name.split('/')
  work = _BENCHMARK.folder(name)
  pictures, pixels = dict(map(_named, _PICTURES.value))[kind]
  if pictures is None:
    pictures = _save_coins(work / _COINS)
  resumed = (work / 'run').exists()
  config = configuration.get_config()
  config.seed = int(seed)
  config.data.dir, config.data.object_pixels = str(pictures), pixels
  config.train.update(steps=int(steps), eval_every=int(steps), checkpoint_every=500, draw_every=0)
  air_jax.train(config, work / 'run', figures=False, progress=False)
  model, chosen = air_jax.load(work / 'run'), _compared(pictures)
  summary = evaluate_files.evaluate(model, images=str(pictures), chosen=chosen, compare=True)
  seconds = None if resumed else round(time.monotonic() - started)
  known = {'pictures': kind, 'seed': int(seed), 'steps': int(steps), 'object_pixels': pixels}
  jobs.finish(work, known | {'seconds': seconds, 'summary': summary})


def _save_coins(folder: pathlib.Path) -> pathlib.Path:
  """Saves the picture of coins that comes with scikit-image, and how many there are."""
  from skimage import data

  folder.mkdir(parents=True, exist_ok=True)
  Image.fromarray(data.coins()).save(folder / 'coins.png')
  (folder / 'counts.csv').write_text(f'name,count\ncoins.png,{_COIN_COUNT}\n')
  return folder


def _compared(pictures: pathlib.Path) -> Callable[[str], bool]:
  """Which pictures are compared: those held out of training, or all where a part of each was."""
  from air_jax.data import image_files, image_folder

  files, _ = image_files.find(pictures)
  held_out = {file.name for file in files if image_folder.is_held_out(file.name)}
  return lambda name: name in held_out or len(held_out) in (0, len(files))


def table(results: Sequence[Result]) -> str:
  """A Markdown table: for each set of pictures what each way finds, with the values of seeds."""
  lines = [
    '| pictures | way | steps | seconds | found of | total, % | count exact, % | F1, % |',
    '|' + 8 * '---|',
  ]
  groups: dict[tuple[str, int], list[Result]] = {}
  for run in sorted(results, key=lambda run: run['seed']):
    groups.setdefault((run['pictures'], run['steps']), []).append(run)
  for (pictures, steps), group in sorted(groups.items()):
    for way, key in _WAYS.items():
      runs = [run['summary'][key] if key else run['summary'] for run in group]
      if key in ('otsu', 'local'):  # the same for every seed
        runs = runs[:1]
      seconds = ', '.join(str(run['seconds'] or '-') for run in group) if not key else ''
      cells = [
        f'`{pictures}`', way, '' if key else f'{steps:,}', seconds, _found(runs),
        _values(runs, 'total_error_percent', 1, '{:+.1f}'),
        _values(runs, 'count_accuracy', 100, '{:.1f}'), _values(runs, 'f1', 100, '{:.1f}'),
      ]  # fmt: skip
      lines.append('| ' + ' | '.join(cells) + ' |')
  return '\n'.join(lines)


def _found(runs: Sequence[Result]) -> str:
  found = [run['mean_found_count'] * run['pictures'] for run in runs]
  true = runs[0]['mean_true_count'] * runs[0]['pictures']
  return f'{", ".join(f"{number:.0f}" for number in found)} of {true:.0f}'


def _values(runs: Sequence[Result], key: str, factor: float, form: str) -> str:
  """A number of each seed; nothing where it is not known."""
  return ', '.join(form.format(factor * run[key]) for run in runs if key in run)


main = jobs.program(_run, _report)

if __name__ == '__main__':
  jobs.start(main)
