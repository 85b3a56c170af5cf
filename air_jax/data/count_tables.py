"""Counts of objects by image, from a CSV file as people and spreadsheets write them."""

import csv
import os
import pathlib
import re
from collections.abc import Collection
from typing import NamedTuple

from air_jax.errors import UserError

# Headers of the two columns, in any case; further columns are left aside.
NAMES = 'name', 'image', 'file', 'filename', 'file_name', 'picture'
COUNTS = 'count', 'counts', 'number', 'objects'
_DELIMITERS = ';\t,'  # where a line has as many of two, the first: 'a.png;2,0'
_COUNT = re.compile('([0-9]{1,9})([.,]0*)?')  # 2, 2.0, 2,0


class _Columns(NamedTuple):
  """Where a line has what."""

  of_name: int
  of_count: int
  titles: tuple[str, ...]


def read(given: str, names: Collection[str]) -> dict[str, int]:
  """Counts by image name.

  A line holds a name and a count, parted by commas, semicolons or tabs. With a header the two may
  be anywhere among further columns.

  Args:
    given: path of the file.
    names: of the images there are.

  Raises:
    UserError: the file cannot be read, or a line is not allowed; it is named.
  """
  path = pathlib.Path(os.path.expanduser(given))
  known = set(names)
  counts: dict[str, int] = {}
  columns = None
  try:
    with path.open(encoding='utf-8-sig', newline='') as file:  # spreadsheets write the signature
      lines = list(file)
    reader = csv.reader(lines, delimiter=_delimiter(lines), strict=True)
    for row in reader:
      where = f'data.counts_csv={str(path)!r}, line {reader.line_num}'
      if not any(cell.strip() for cell in row):
        continue
      if columns is None:
        columns, is_header = _columns(row)
        if is_header:
          continue
      name, count = _parsed(row, columns, known, where)
      if name in counts:
        raise UserError(f'{where}: {name!r} was listed before; a name must be listed once')
      counts[name] = count
  except csv.Error as error:
    raise UserError(
      f'data.counts_csv={str(path)!r}, line {reader.line_num} is no line of CSV ({error})'
    ) from error
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(
      f'data.counts_csv={str(path)!r} cannot be read ({error}); it must be a UTF-8 file of '
      'name,count lines'
    ) from error
  return counts


def _delimiter(lines: list[str]) -> str:
  """The one that the first line that is not empty has most of, outside quotes."""
  first = re.sub('"[^"]*"', '', next((line for line in lines if line.strip()), ''))
  return max(_DELIMITERS, key=first.count)


def _columns(first: list[str]) -> tuple[_Columns, bool]:
  """The columns by the first line, and whether that is a header."""
  titles = tuple(cell.strip() for cell in first)
  lower = [title.lower() for title in titles]
  name = next((i for i, title in enumerate(lower) if title in NAMES), None)
  count = next((i for i, title in enumerate(lower) if title in COUNTS), None)
  if name is None or count is None:
    return _Columns(0, 1, ('name', 'count')), False
  return _Columns(name, count, titles), True


def _parsed(row: list[str], columns: _Columns, known: set[str], where: str) -> tuple[str, int]:
  """The name and count of a line."""
  if len(row) != len(columns.titles):
    raise UserError(
      f'{where} has {len(row)} fields; it must have {len(columns.titles)}, '
      f'{",".join(columns.titles)[:200]}'
    )
  name, count = row[columns.of_name], row[columns.of_count]
  name = name if name in known else name.strip()
  if not (match := _COUNT.fullmatch(count.strip())):
    raise UserError(f'{where}: the count {count!r} must be a whole number >= 0 of at most 9 digits')
  if name not in known:
    raise UserError(
      f'{where}: {name!r} is no image of data.dir; names must be relative to that folder, '
      f'as in {min(known)!r}'
    )
  return name, int(match[1])
