"""Damaged files and odd values: what a disk, an editor or another program may make of ours.

`pytest --fuzz=N` tries N random examples a test; without it few, always the same.
"""

import json

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FEW = 80  # examples of a test without --fuzz


def register(number):
  """Makes the profile that `examples` reads; a number of 0 takes few examples."""
  settings.register_profile(
    'fuzz',
    max_examples=number or FEW,
    derandomize=not number,
    database=None,
    deadline=None,  # the machine may be busy
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
  )


def examples(slower=1):
  """Settings of a test; where examples take long, it tries fewer by a factor."""
  profile = settings.get_profile('fuzz')
  return settings(profile, max_examples=max(1, profile.max_examples // slower))


DEEP = 600  # levels that json reads, and that functions that call themselves twice a level do not
# Values as JSON; of each kind, and at the borders of what Python and C can hold.
ODD = [
  'null', 'true', 'false', '0', '-1', '1', '2', '-0.0', '0.5', '1e999', '-1e999', 'NaN', 'Infinity',
  '1e308', '-1e308', '1e-320', '4294967296', '2147483648', '-9223372036854775809', '1' + '0' * 400,
  '-1' + '0' * 4000, '1' + '0' * 5000, '""', '"0"', '"1"', '"\\u0000"', '"\\ud800"', '"\\udcff"',
  '"../x"', '"a:b"', '"\\n"', '[]', '{}', '[[]]', '[{}]', '{"": {}}', '{"a": {"b": []}}', '[1, 2]',
  '[0.5, "a"]', '[null]', '[[1], [2, 3]]', '[1e999]', '["\\ud800"]', '[[], {"a.b": 1}]',
  '[' * 100_000, '[' * DEEP + ']' * DEEP, '{"a":' * DEEP + '1' + '}' * DEEP,
  '{"a": 1, "a": "x"}', '{"0": {"step": 1, "what": []}}', '"' + 'x' * 10_000 + '"', '"\xff',
]  # fmt: skip
KEYS = ['', '0', '-1', '00', ' 1', 'a.b', '\u0661', '\ud800', '\0', 'best', 'step', 'data', '1e3']
SIMPLE = st.one_of(
  st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9),
)  # fmt: skip
VALUES = st.recursive(
  SIMPLE,
  lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
  ),
  max_leaves=6,
)
RAW = st.sampled_from(ODD) | VALUES.map(json.dumps)


@st.composite
def damaged_bytes(draw, whole):
  """Bytes flipped, inserted, removed, doubled or zeroed, or a file that is cut short."""
  for _ in range(draw(st.integers(1, 3))):
    at = round(draw(st.floats(0, 1)) * len(whole))
    some = draw(st.integers(1, 12))
    match draw(st.sampled_from(['flip', 'insert', 'remove', 'double', 'zero', 'cut'])):
      case 'flip':
        bits = bytes(x ^ 1 << draw(st.integers(0, 7)) for x in whole[at : at + 1])
        whole = whole[:at] + bits + whole[at + 1 :]
      case 'insert':
        whole = whole[:at] + draw(st.binary(min_size=1, max_size=6)) + whole[at:]
      case 'remove':
        whole = whole[:at] + whole[at + some :]
      case 'double':
        whole = whole[: at + some] + whole[at:]
      case 'zero':
        whole = whole[:at] + bytes(len(whole[at : at + some])) + whole[at + some :]
      case 'cut':
        whole = whole[:at]
  return whole


@st.composite
def damaged_json(draw, value):
  """A JSON text in which values are of another kind, keys are more, fewer or double."""
  tree, raw = json.loads(json.dumps(value)), {}
  for _ in range(draw(st.integers(1, 2))):
    places = list(_places(tree))
    if not places or not draw(st.integers(0, 19)):
      return draw(RAW)
    holder, key = draw(st.sampled_from(places))
    mark = f'@{len(raw)}@'
    match draw(st.sampled_from(['replace', 'replace', 'remove', 'add', 'rename'])):
      case 'replace':
        holder[key] = mark
        raw[f'"{mark}"'] = draw(RAW)
      case 'remove':
        del holder[key]
      case 'add' if isinstance(holder, dict):
        holder[mark] = mark
        name = draw(st.sampled_from([*holder, *KEYS]) | st.text(max_size=5))
        raw[f'"{mark}":'] = json.dumps(name) + ':'
        raw[f'"{mark}"'] = draw(RAW)
      case 'rename' if isinstance(holder, dict):
        name = draw(st.sampled_from(KEYS) | st.text(max_size=5))
        holder[name] = holder.pop(key)
      case _:
        holder.append(holder[key])
  text = json.dumps(tree)
  for mark, given in raw.items():
    text = text.replace(mark, given)
  return text


def damaged_document(value):
  """The bytes of a JSON file, damaged in its values or its bytes."""
  whole = json.dumps(value, indent=2).encode() + b'\n'
  text = damaged_json(value)
  return st.one_of(
    text.map(_encoded), text.map(_encoded), damaged_bytes(whole),
    text.flatmap(lambda x: damaged_bytes(_encoded(x))),
  )  # fmt: skip


def damaged_lines(values):
  """The bytes of a file with a JSON value a line, damaged in some lines or its bytes."""
  whole = [json.dumps(value).encode() for value in values]

  @st.composite
  def lines(draw):
    kept = list(whole)
    for _ in range(draw(st.integers(1, 3))):
      at = draw(st.integers(0, len(kept) - 1))
      kept[at] = _encoded(draw(damaged_json(values[at % len(values)])))
    return b'\n'.join(kept) + draw(st.sampled_from([b'\n', b'', b'\n\n']))

  return lines() | damaged_bytes(b'\n'.join(whole) + b'\n')


def _encoded(text):
  return text.encode('utf-8', 'surrogatepass')


def _places(tree):
  """(holder, key) of every value in a tree, but for the tree itself."""
  items = tree.items() if isinstance(tree, dict) else enumerate(tree)
  for key, value in list(items):
    yield tree, key
    if isinstance(value, (dict, list)):
      yield from _places(value)
