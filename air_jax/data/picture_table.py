"""CSV files about pictures: the count of each, or the points where its objects are.

As spreadsheets write them: fields are separated by commas, semicolons or tabs, a header may be in
any case, and numbers may have a decimal comma where commas separate no fields.
"""

import csv
import io
import math
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from air_jax.errors import UserError

_NAMES = ('name', 'file', 'filename', 'image', 'picture')  # headers of the column of names
_Row = tuple[str, list[str]]  # where it is, for messages, and its fields
_COUNT = re.compile(r'([0-9]{1,9})(\.0*)?')


def read(
  given: str | pathlib.Path, names: Sequence[str]
) -> tuple[dict[str, int], dict[str, Float[np.ndarray, 'M 2']]]:
  """Reads counts or points of pictures.

  A file of counts has the columns `name` and `count`; without a header these are its only two. A
  file of points has a header and the columns `name`, `x` (to the right) and `y` (down), in pixels,
  with a line for each object. A line with a name but neither x nor y says that the picture has no
  object. Further columns are ignored. Pictures that are not listed are not known.

  Args:
    given: path of a UTF-8 file.
    names: of the pictures, at least one.

  Returns:
    (counts by name, points by name); one of them is empty. Points are (down, right), float64.

  Raises:
    UserError: the file cannot be read, or a line is invalid; the message names the line.
  """
  path = pathlib.Path(os.path.expanduser(given))
  try:
    text = path.read_bytes().decode('utf-8-sig')  # spreadsheets write the signature
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f'{path} cannot be read ({error}); it must be a UTF-8 file of CSV') from error
  first = next((line for line in text.splitlines() if line.strip()), '')
  separator = next((each for each in '\t;' if each in first), ',')
  reader = csv.reader(io.StringIO(text, newline=''), delimiter=separator, strict=True)
  rows: list[_Row] = []
  try:
    for fields in reader:
      if any(field.strip() for field in fields):
        rows.append((f'{path}, line {reader.line_num}', [field.strip() for field in fields]))
  except csv.Error as error:
    raise UserError(f'{path}, line {reader.line_num} is no line of CSV ({error})') from error
  columns, start = _columns(rows, path)
  known, lines = set(names), list[_Row]()
  for where, fields in rows[start:]:
    if len(fields) <= max(columns):
      raise UserError(f'{where} has {len(fields)} fields; it must have at least {max(columns) + 1}')
    name, *values = (fields[column] for column in columns)
    if name not in known:
      raise UserError(
        f'{where}: {name!r} is none of the pictures; names must be relative to their folder, as in '
        f'{names[0]!r}'
      )
    if separator != ',':
      values = [value.replace(',', '.') for value in values]
    lines.append((where, [name, *values]))
  return (_counts(lines), {}) if len(columns) == 2 else ({}, _points(lines))


def _columns(rows: list[_Row], path: pathlib.Path) -> tuple[list[int], int]:
  """Columns of (name, count) or (name, x, y), and how many rows the header takes."""
  header = [field.lower() for field in rows[0][1]] if rows else []
  name = next((header.index(each) for each in _NAMES if each in header), None)
  if name is not None and {'x', 'y'} <= set(header):
    return [name, header.index('x'), header.index('y')], 1
  if name is not None and 'count' in header:
    return [name, header.index('count')], 1
  if len(header) == 2 and name is None:
    return [0, 1], 0
  raise UserError(
    f'{path} starts with {",".join(header)!r}; it must have a header with name,count or name,x,y, '
    'or only lines of a name and a count'
  )


def _counts(lines: list[_Row]) -> dict[str, int]:
  counts: dict[str, int] = {}
  for where, (name, text) in lines:
    number = _COUNT.fullmatch(text)
    if not number:
      raise UserError(
        f'{where}: the count {text!r} must be a whole number >= 0 of at most 9 digits'
      )
    if name in counts:
      raise UserError(f'{where}: {name!r} was listed before; a name must be listed once')
    counts[name] = int(number[1])
  return counts


def _points(lines: list[_Row]) -> dict[str, Float[np.ndarray, 'M 2']]:
  points: dict[str, list[tuple[float, float]]] = {}
  for where, (name, *texts) in lines:
    of_picture = points.setdefault(name, [])
    if texts == ['', '']:
      continue
    for axis, text in zip('xy', texts, strict=True):
      if not _is_finite(text):
        raise UserError(f'{where}: {axis} is {text!r}; it must be a number of pixels')
    x, y = map(float, texts)
    of_picture.append((y, x))
  return {name: np.reshape(np.array(each, np.float64), (-1, 2)) for name, each in points.items()}


def _is_finite(text: str) -> bool:
  try:
    return math.isfinite(float(text))
  except ValueError:
    return False
