"""Parses large image files, which hold any number of objects."""

import pathlib
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import tqdm
from jaxtyping import Int, Int32
from PIL import Image, ImageDraw, ImageFont

from air_jax.data import levels, preparation
from air_jax.data.image_files import ImageFile
from air_jax.inference import dashes, file_results, large_pictures
from air_jax.inference.file_results import FileResult
from air_jax.inference.predictor import Model
from air_jax.runtime import memory, strips
from air_jax.viz import palette

_LONGEST = 2000  # pixels of the longer side of an annotated picture
_SHORTEST = 640  # the same, to which small pictures are enlarged
_HEADER = 24  # pixels of the text above


def parse(
  model: Model, files: Sequence[ImageFile], out: pathlib.Path, annotate: bool
) -> Iterator[FileResult]:
  """Parses files one by one; writes a label image of each, and draws it if asked to."""
  data = model.config.data
  memory.give_back()
  for file in files:
    values = file_results.read(file, data)
    if values is None:
      yield FileResult(file.name, None)
      continue
    hidden = not sys.stderr.isatty()
    with tqdm.tqdm(unit='view', dynamic_ncols=True, disable=hidden, leave=False) as bar:

      def show(done: int, number: int, bar: tqdm.tqdm = bar) -> None:
        bar.total = number
        bar.update(done - bar.n)

      parsed = large_pictures.parse_large(model, values, show)
    write_labels(parsed.labels, file_results.path(out / 'labels', file.name, ''))
    judged = file_results.judged(
      model,
      parsed.ink_explained,
      parsed.elbo,
      parsed.elbo_rank,
      parsed.unlike,
      file_results.boxes_of(parsed.regions),
    )
    picture = preparation.in_levels(values, data)
    if annotate:
      text = file_results.title(len(parsed.boxes), None, judged.doubt)
      drawn = _annotate(picture, parsed.labels, parsed.regions, text)
      drawn.save(file_results.path(out / 'annotated', file.name, '.png'))
    line = file_results.line(
      model, file.name, picture.size, parsed.boxes, parsed.scores, parsed.codes, judged
    )
    yield FileResult(file.name, line, levels.histogram([np.asarray(picture)]))


def write_labels(labels: Int32[np.ndarray, 'H W'], path: pathlib.Path) -> None:
  """Writes a label image as PATH.png of 16 bits, or as PATH.tif of 32 bits where those are few."""
  if labels.max(initial=0) < 2**16:
    Image.fromarray(labels.astype(np.uint16)).save(f'{path}.png')
  else:
    Image.fromarray(labels).save(f'{path}.tif', compression='tiff_deflate')


def _annotate(
  picture: Image.Image,
  labels: Int32[np.ndarray, 'H W'],
  regions: Int[np.ndarray, 'H W'],
  text: str,
) -> Image.Image:
  """The image with the outlines of its objects and of what is unexplained, under a line of text."""
  longest = max(picture.size)
  ratio = np.clip(1.0, _SHORTEST / longest, _LONGEST / longest)
  width, height = (max(1, round(side * ratio)) for side in picture.size)
  shown = np.array(picture.resize((width, height), Image.Resampling.BICUBIC).convert('RGB'))
  numbers = strips.resize(labels, (height, width))
  shown[dashes.outlines(numbers)] = 0  # a dark margin, for bright pictures
  inner = dashes.outlines(np.where(dashes.outlines(numbers), 0, numbers))
  colours = np.array([_rgb(colour) for colour in palette.COLOURS], np.uint8)
  shown[inner] = colours[(numbers[inner] - 1) % len(colours)]
  sheet = Image.new('RGB', (width, height + _HEADER), 'white')
  sheet.paste(dashes.draw(Image.fromarray(shown), regions), (0, _HEADER))
  ImageDraw.Draw(sheet).text((4, 4), text, 'black', ImageFont.load_default(14))
  return sheet


def _rgb(colour: str) -> tuple[int, ...]:
  return tuple(bytes.fromhex(colour[1:]))
