"""Parsing a person's picture files: the objects of each as a line of JSON, and as a picture."""

import glob
import json
import os
import pathlib
import sys

import numpy as np
import tqdm
from absl import logging
from matplotlib import colors
from PIL import Image, ImageDraw, ImageFont

from air_jax.data import pictures
from air_jax.errors import UserError
from air_jax.viz import plots

_BATCH = 64  # pictures in memory at once
_SIDE = 320  # pixels of the longer side of an annotated picture
_LINES = 'objects.jsonl'


def find(images):
  """The picture files that --images names.

  Args:
    images: a folder, searched at any depth, or a pattern such as 'photos/*.png'.

  Returns:
    (folder as a `pathlib.Path`, names relative to it).

  Raises:
    UserError: there are none.
  """
  given = os.path.expanduser(images)
  folder = pathlib.Path(given)
  if folder.is_dir():
    names = pictures.find(folder)
  else:
    paths = [pathlib.Path(path) for path in sorted(glob.glob(given, recursive=True))]
    paths = [path for path in paths if not path.is_dir()]
    folder = pathlib.Path(os.path.commonpath([path.parent for path in paths]) if paths else '.')
    names = [path.relative_to(folder).as_posix() for path in paths]
  if not names:
    raise UserError(
      f'--images={images} finds no pictures; it must be a folder with files ending in '
      f'{", ".join(pictures.SUFFIXES)}, or a pattern such as "photos/*.png"'
    )
  return folder, names


def run(model, images, out, annotate):
  """Parses picture files into a folder; goes on where an earlier call was interrupted.

  `objects.jsonl` gets a line for each picture that can be read, in the order of their names:
  `image`, `width`, `height`, `step` (of the model), `count`, `count_probs`, and `objects` with
  their `box` (top, left, height, width, in pixels of that file), `score` and `z_what`.
  `annotated/NAME.png` shows it with its boxes, beside what the model made of it.

  Args:
    model: `trained.Model`.
    images: see `find`.
    out: folder, made where there is none.
    annotate: whether to draw.

  Returns:
    a sentence that says what was done.

  Raises:
    UserError: there are no pictures, none can be read, or the folder holds what another model or
      other pictures gave.
  """
  folder, names = find(images)
  out = pathlib.Path(os.path.expanduser(out))
  path = out / _LINES
  done = _done(path, names, model.step)
  left = [name for name in names if name not in done]
  unread, sizes = [], set()
  try:
    out.mkdir(parents=True, exist_ok=True)
    hidden = not sys.stderr.isatty()
    with (
      path.open('a') as lines,
      tqdm.tqdm(total=len(left), unit='picture', dynamic_ncols=True, disable=hidden) as bar,
    ):
      for start in range(0, len(left), _BATCH):
        batch = left[start : start + _BATCH]
        read = _read(folder, batch, model.config.data, unread)
        if read:
          sizes |= {size for _, size, _, _ in read}
          _write(model, read, lines, out / 'annotated' if annotate else None)
        bar.update(len(batch))
  except OSError as error:
    raise UserError(f'--out={out} cannot be written to: {error.strerror or error}') from error
  if left and len(unread) == len(names):
    raise UserError(f'--images={images}: none of its {len(names)} files can be read')
  return _said(len(left) - len(unread), len(done), len(unread), sizes, model.config.data, path)


def _done(path, names, step):
  """The names that an earlier call wrote; a line that it did not finish is taken back."""
  if not path.exists():
    return set()
  done, whole = set(), 0
  with path.open('rb') as lines:
    for line in lines:
      if not line.endswith(b'\n'):
        break
      try:
        known = json.loads(line)
        name, of_step = known['image'], known['step']
      except (ValueError, KeyError, TypeError):
        raise UserError(f'{path} is not what --mode=parse writes; choose another --out') from None
      if of_step != step or name not in names:
        what = f'step {of_step} of a model' if of_step != step else f'other pictures ({name})'
        raise UserError(f'{path} holds the objects of {what}; choose another --out')
      done.add(name)
      whole += len(line)
  os.truncate(path, whole)
  return done


def _read(folder, names, data, unread):
  """(name, size, canvas, small picture to draw on) of each file that can be read."""
  read = []
  for name in names:
    try:
      picture = pictures.decode(folder / name, 'RGB')
    except Exception as error:  # spoilt files make Pillow's decoders raise nearly anything
      reason = str(error) or type(error).__name__
      logging.warning('leaving out %s: it cannot be read (%s)', folder / name, reason)
      unread.append(name)
      continue
    mode = 'RGB' if data.colour else 'L'
    canvas = np.asarray(pictures.fit(picture.convert(mode), data.canvas_size, data.fit))
    read.append((name, picture.size, canvas, _shown(picture)))
  return read


def _shown(picture):
  """A picture at the size of annotated ones."""
  ratio = _SIDE / max(picture.size)
  sides = [max(1, round(side * ratio)) for side in picture.size]
  how = Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.BOX
  return picture.resize(sides, how)


def _write(model, read, lines, annotated):
  canvases = np.stack([canvas for _, _, canvas, _ in read])
  scene = model.parse(canvases, _BATCH)
  data = model.config.data
  for i, (name, size, _, shown) in enumerate(read):
    count = int(scene.counts[i])
    boxes = pictures.unfit(scene.boxes[i, :count], size, data.canvas_size, data.fit)
    if annotated is not None:
      target = annotated / f'{name}.png'
      target.parent.mkdir(parents=True, exist_ok=True)
      probability = scene.count_probs[i, count]
      _annotate(shown, boxes / max(size) * _SIDE, scene.canvases[i], probability).save(target)
    found = zip(boxes, scene.scores[i], scene.latents.z_what[i], strict=False)
    line = {
      'image': name,
      'width': size[0],
      'height': size[1],
      'step': model.step,
      'count': count,
      'count_probs': _rounded(scene.count_probs[i]),
      'objects': [
        {'box': _rounded(box, 2), 'score': _rounded(score), 'z_what': _rounded(z_what)}
        for box, score, z_what in found
      ],
    }
    lines.write(json.dumps(line) + '\n')
  lines.flush()


def _rounded(values, digits=5):
  return np.round(np.float64(values), digits).tolist()


def _annotate(shown, boxes, canvas, probability):
  """The picture with numbered boxes beside the reconstruction, under a line of text."""
  header, gap = 24, 8
  sheet = Image.new('RGB', (2 * _SIDE + gap, _SIDE + header), 'white')
  sheet.paste(shown, (0, header))
  pixels = np.round(255 * np.clip(canvas, 0, 1)).astype(np.uint8)
  painted = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert('RGB')
  sheet.paste(painted.resize((_SIDE, _SIDE), Image.Resampling.NEAREST), (_SIDE + gap, header))
  pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
  objects = 'object' if len(boxes) == 1 else 'objects'
  pen.text((4, 4), f'{len(boxes)} {objects}, p = {probability:.3f}', 'black', font)
  pen.text((_SIDE + gap, 4), 'as the model paints it', 'black', font)
  for t, (top, left, height, width) in enumerate(boxes):
    colour = colors.to_hex(plots.COLOURS[t % len(plots.COLOURS)])
    corner = left, top + header
    pen.rectangle((*corner, left + width, top + height + header), outline=colour, width=3)
    pen.text((left + 5, top + header + 3), str(t + 1), colour, font, stroke_width=1)
  return sheet


def _said(parsed, before, unread, sizes, data, path):
  said = f'{parsed:,} pictures parsed into {path}'
  if before:
    said += f', {before:,} were there'
  if unread:
    said += f'; {unread:,} cannot be read and are left out'
  side = data.canvas_size
  if sizes - {(side, side)}:
    said += f'; not all are {side}x{side}: they were fitted by data.fit={data.fit!r}'
  return said
