"""Parses a person's image files: the objects of each as a line of JSON, and as a picture."""

import csv
import glob
import io
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence

import tqdm

from air_jax.config.sections import DataConfig
from air_jax.data import image_files, levels
from air_jax.data.image_files import ImageFile
from air_jax.errors import UserError
from air_jax.inference import file_results, fitted_files, large_files, parsed_scenes
from air_jax.inference.file_results import FileResult
from air_jax.inference.predictor import Model
from air_jax.runtime import files as file_writing

_LINES = 'objects.jsonl'


def find(images: str) -> tuple[pathlib.Path, list[ImageFile]]:
  """Finds pictures.

  Args:
    images: a folder, searched at any depth, or a pattern such as 'photos/*.png'.

  Returns:
    (folder, pictures, whose names are relative to it).

  Raises:
    UserError: there are none.
  """
  given = os.path.expanduser(images)
  folder = pathlib.Path(given)
  if folder.is_dir():
    files, others = image_files.find(folder)
    image_files.log_left_out(folder, others)
  else:
    paths = [pathlib.Path(path) for path in sorted(glob.glob(given, recursive=True))]
    paths = [path for path in paths if not path.is_dir()]
    folder = pathlib.Path(os.path.commonpath([path.parent for path in paths]) if paths else '.')
    files = image_files.of_names(folder, [path.relative_to(folder).as_posix() for path in paths])
  if not files:
    raise UserError(
      f'images={images} finds no pictures; it must be a folder with files ending in '
      f'{", ".join(image_files.SUFFIXES)}, or a pattern such as "photos/*.png"'
    )
  return folder, files


def run(model: Model, images: str, out: str | pathlib.Path, annotate: bool) -> str:
  """Parses image files into a folder; continues where an earlier call was interrupted.

  `objects.jsonl` gets a line for each image that can be read, in the order of their names:
  `image`, `width`, `height`, `step` (training step of the model), `count`, `count_probs`,
  `ink_explained`, `elbo` and `elbo_rank` (null where not known), `doubt` (why not to rely on this,
  in words), `unexplained` (boxes of regions), and `objects` with `box` (top, left, height, width,
  in pixels of the file), `score` and `z_what`; `counts.csv` the counts and doubts alone.
  `annotated/NAME.png` shows the image with its boxes beside the reconstruction, and what is
  unexplained in dashed outlines. Of a model that was trained on crops there is no `count_probs`,
  and `labels/NAME.png` says which object each pixel belongs to.

  Args:
    model: the model that parses.
    images: see `find`.
    out: folder, made if missing.
    annotate: whether to draw.

  Returns:
    one sentence that sums up the work.

  Raises:
    UserError: there are no images, none can be read, or the folder holds results of another model
      or of other images.
  """
  folder, files = find(images)
  names = [file.name for file in files]
  out = pathlib.Path(os.path.expanduser(out))
  path = out / _LINES
  done = _done(path, names, model.step)
  left = [file for file in files if file.name not in done]
  unreadable = 0
  sizes: set[tuple[int, int]] = set()
  brightness = levels.histogram([])
  data = model.config.data
  batch = 1 if data.object_pixels else fitted_files.BATCH
  try:
    out.mkdir(parents=True, exist_ok=True)
    hidden = not sys.stderr.isatty()
    with (
      path.open('a') as lines,
      tqdm.tqdm(total=len(left), unit='image', dynamic_ncols=True, disable=hidden) as bar,
    ):
      for start in range(0, len(left), batch):
        for result in _parse(model, left[start : start + batch], out, annotate):
          bar.update()
          if result.line is None:
            unreadable += 1
            continue
          lines.write(json.dumps(result.line) + '\n')
          sizes.add((result.line['width'], result.line['height']))
          brightness += result.brightness
        lines.flush()
    doubts = _write_counts(path, out / 'counts.csv')
  except OSError as error:
    raise UserError(f'{out} cannot be written to: {error.strerror or error}') from error
  if left and unreadable == len(names):
    raise UserError(f'images={images}: none of its {len(names)} files can be read')
  parsed = len(left) - unreadable
  if parsed:
    levels.warn_if_dim(brightness, images)
  return _summary(parsed, len(done), unreadable, sizes, data, path) + _in_doubt(doubts)


def _done(path: pathlib.Path, names: Sequence[str], step: int) -> set[str]:
  """The names that an earlier call wrote; removes a last line that it did not finish."""
  if not path.exists():
    return set()
  done: set[str] = set()
  wanted, whole = set(names), 0
  with path.open('rb') as lines:
    for line in lines:
      if not line.endswith(b'\n'):
        break
      try:
        known = json.loads(line)
        name, of_step = str(known['image']), int(known['step'])
      except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise UserError(f'{path} was not written by parsing; choose another folder') from None
      if of_step != step or name not in wanted:
        what = f'step {of_step} of a model' if of_step != step else f'other pictures ({name})'
        raise UserError(f'{path} holds the objects of {what}; choose another folder')
      done.add(name)
      whole += len(line)
  os.truncate(path, whole)
  return done


def _parse(
  model: Model, files: Sequence[ImageFile], out: pathlib.Path, annotate: bool
) -> Iterator[FileResult]:
  if model.config.data.object_pixels:
    return large_files.parse(model, files, out, annotate)
  return fitted_files.parse(model, files, out / 'annotated' if annotate else None)


def _write_counts(lines: pathlib.Path, path: pathlib.Path) -> list[str]:
  """Writes the counts and doubts of the images of `objects.jsonl` as a table; returns doubts."""
  doubts = []
  text = io.StringIO()
  table = csv.writer(text, lineterminator='\n')
  table.writerow(('name', 'count', 'doubt'))
  with lines.open() as known:
    for line in map(json.loads, known):
      doubts.append(line.get('doubt', file_results.NOT_COMPARED))  # earlier versions wrote none
      table.writerow((line['image'], line['count'], doubts[-1]))
  file_writing.write_atomic(path, text.getvalue().encode())
  return doubts


def _in_doubt(doubts: Sequence[str]) -> str:
  """How many images are in doubt, for the summary."""
  unlike = sum(parsed_scenes.UNLIKE in doubt for doubt in doubts)
  unexplained = sum(doubt.endswith(parsed_scenes.UNEXPLAINED) for doubt in doubts)
  unknown = sum(doubt == file_results.NOT_COMPARED for doubt in doubts)
  parts = [
    f'{number:,} of {len(doubts):,} {text}'
    for number, text in (
      (unlike, f'are {parsed_scenes.UNLIKE}'),
      (unexplained, f'have regions {parsed_scenes.UNEXPLAINED}'),
      (unknown, f'are {file_results.NOT_COMPARED}'),
    )
    if number
  ]
  return '; ' + ', '.join(parts) if parts else ''


def _summary(
  parsed: int,
  before: int,
  unreadable: int,
  sizes: set[tuple[int, int]],
  data: DataConfig,
  path: pathlib.Path,
) -> str:
  text = f'{parsed:,} images parsed into {path}'
  if before:
    text += f', {before:,} were there already'
  if unreadable:
    text += f'; {unreadable:,} cannot be read and are left out'
  side = data.canvas_size
  if sizes - {(side, side)} and not data.object_pixels:
    text += f'; not all are {side}x{side}: they were fitted by data.fit={data.fit!r}'
  return text
