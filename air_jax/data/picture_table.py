"""CSV files about pictures: the count of each, or the points where its objects are.

As spreadsheets write them: fields are separated by commas, semicolons or tabs, a header may be in
any case, and numbers may have a decimal comma.
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

# Headers of the columns, in any case. If a file has several of them, the first here is used.
_NAMES = ('name', 'file', 'filename', 'file_name', 'image', 'picture')
_COUNTS = ('count', 'counts', 'objects', 'number')
_SEPARATORS = '\t;,'
_COUNT = re.compile(r'([0-9]{1,9})(\.0*|,0{0,2})?')  # 2, 2.0, 2,0; but 2,000 may be two thousand
_SHOWN = 200  # characters of a header or a field in a message
_Row = tuple[str, list[str]]  # where it is, for messages, and its fields


def read(
  given: str | pathlib.Path, names: Sequence[str], key: str = ''
) -> tuple[dict[str, int], dict[str, Float[np.ndarray, 'M 2']]]:
  """Reads counts or points of pictures.

  A file of counts has the columns `name` and `count`; without a header these are its only two. A
  file of points has a header and the columns `name`, `x` (to the right) and `y` (down), in pixels,
  with a line for each object. A line with a name but neither x nor y says that the picture has no
  object. Further columns are ignored. Pictures that are not listed are not known.

  Args:
    given: path of a UTF-8 file.
    names: of the pictures, at least one.
    key: of the configuration that names the file, for messages; '' for none.

  Returns:
    (counts by name, points by name); one of them is empty. Points are (down, right), float64.

  Raises:
    UserError: the file cannot be read, or a line is invalid; the message names the line.
  """
  path = pathlib.Path(os.path.expanduser(given))
  file = f'{key}={str(path)!r}' if key else str(path)
  try:
    text = path.read_bytes().decode('utf-8-sig')  # spreadsheets write the signature
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f'{file} cannot be read ({error}); it must be a UTF-8 file of CSV') from error
  separator = _separator(text)
  reader = csv.reader(io.StringIO(text, newline=''), delimiter=separator, strict=True)
  rows: list[_Row] = []
  try:
    for fields in reader:
      if any(field.strip() for field in fields):
        rows.append((f'{file}, line {reader.line_num}', fields))
  except csv.Error as error:
    raise UserError(f'{file}, line {reader.line_num} is no line of CSV ({error})') from error
  first = rows[0][1] if rows else []
  columns, start = _columns(first)
  if not columns:
    raise UserError(
      f'{file} starts with {separator.join(first).strip()[:_SHOWN]!r}; it must have a header with '
      'name,count or name,x,y, or only lines of a name and a count'
    )
  known, lines = set(names), list[_Row]()
  for where, fields in rows[start:]:
    _check_length(fields, columns, len(first), where)
    name, *values = (fields[column] for column in columns)
    name = name if name in known else name.strip()
    if name not in known:
      raise UserError(
        f'{where}: {name[:_SHOWN]!r} is none of the pictures; names must be relative to their '
        f'folder, as in {names[0]!r}'
      )
    lines.append((where, [name, *(value.strip() for value in values)]))
  return (_counts(lines), {}) if len(columns) == 2 else ({}, _points(lines))


def read_counts(given: str | pathlib.Path, names: Sequence[str], key: str = '') -> dict[str, int]:
  """Reads the counts of pictures; those of a file of points are how many each has. See `read`."""
  counts, points = read(given, names, key)
  return counts or {name: len(each) for name, each in points.items()}


def _separator(text: str) -> str:
  """The separator by which the first line is a header or a name and a count."""
  found = []
  for separator in _SEPARATORS:
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=separator, strict=True)
    try:
      first = next((row for row in reader if any(field.strip() for field in row)), [])
    except csv.Error:
      continue
    columns, start = _columns(first)
    if columns and (start or _COUNT.fullmatch(first[1].strip())):
      return separator
    if len(first) > 1:
      found.append(separator)
  return found[0] if found else ','


def _columns(first: list[str]) -> tuple[list[int], int]:
  """By the first row: columns of (name, count), (name, x, y) or none; rows of the header."""
  header = [field.strip().lower() for field in first]
  name = next((header.index(each) for each in _NAMES if each in header), None)
  count = next((header.index(each) for each in _COUNTS if each in header), None)
  if name is not None and {'x', 'y'} <= set(header):
    return [name, header.index('x'), header.index('y')], 1
  if name is not None and count is not None:
    return [name, count], 1
  return ([0, 1], 0) if len(header) == 2 and name is None else ([], 0)


def _check_length(fields: list[str], columns: list[int], length: int, where: str) -> None:
  """Refuses a row that lacks a field, or has more than the first row: '1,5' may be one number."""
  least = max(columns) + 1
  if len(fields) < least:
    raise UserError(f'{where} has {len(fields)} fields; it must have at least {least}')
  if any(field.strip() for field in fields[length:]):
    raise UserError(f'{where} has {len(fields)} fields; it must have {length}, as the first line')


def _counts(lines: list[_Row]) -> dict[str, int]:
  counts: dict[str, int] = {}
  for where, (name, text) in lines:
    number = _COUNT.fullmatch(text)
    if not number:
      raise UserError(
        f'{where}: the count {text[:_SHOWN]!r} must be a whole number >= 0 of at most 9 digits'
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
      if not math.isfinite(_number(text)):
        raise UserError(f'{where}: {axis} is {text[:_SHOWN]!r}; it must be a number of pixels')
    x, y = map(_number, texts)
    of_picture.append((y, x))
  return {name: np.reshape(np.array(each, np.float64), (-1, 2)) for name, each in points.items()}


def _number(text: str) -> float:
  """The number that a text says, with a decimal point or comma; NaN if it says none."""
  try:
    return float(text.replace(',', '.'))
  except ValueError:
    return math.nan
