"""Forms of JSON values: what has one, and how a message says what does not."""

from typing import Any, NotRequired, TypedDict

import pytest

from air_jax.runtime.json_forms import mismatch


class Point(TypedDict):
  x: float
  names: NotRequired[list[str]]


def nested(levels):
  return [nested(levels - 1)] if levels else 1


@pytest.mark.parametrize(
  ('value', 'form', 'says'),
  [
    (1, int, ''),
    (True, int, 'it must be of type int'),
    (2**53 + 1, int, 'it must be of type int'),
    (1.0, int, 'it must be of type int'),
    (1, float, ''),
    (float('nan'), float, ''),
    (10**400, float, 'it must be of type float'),
    ('a b', str, ''),
    ('\ud800', str, 'it must be of type str'),
    ('a\nb', str, 'it must be of type str'),
    (False, bool, ''),
    (None, int | None, ''),
    ('x', int | None, 'it must be of type null'),
    ([1, 2.5], tuple[int, float], ''),
    ([1], tuple[int, float], 'it must be a list of 2'),
    ([[1], ['a']], list[list[int]], 'it[1][0] must be of type int'),
    ({'a': 1}, dict[str, int], ''),
    ({'a\n': 'b'}, dict[str, int], "it['a\\n'] must be of type int"),
    ([], dict[str, int], 'it must be an object'),
    ({'x': 1, 'more': nested(19)}, Point, ''),
    ({'x': 1, 'more': nested(20)}, Point, "it['more'] is nested too deeply"),
    ({'names': []}, Point, "it lacks 'x'"),
    ({'x': 1, 'names': [2]}, Point, "it['names'][0] must be of type str"),
    (nested(900), Any, 'it is nested too deeply'),
  ],
)
def test_values_have_a_form_or_not(value, form, says):
  assert mismatch(value, form) == says
