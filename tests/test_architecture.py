"""The rules of the house: who may import whom, how long a file may be, what must have types."""

import ast
import functools
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / 'air_jax'

# What each part of the package may import of the others.
BASE = {'types', 'errors', '_version', 'import_path', 'sums'}
RUNTIME = BASE | {'runtime'}
MODEL = RUNTIME | {'config', 'objectives'}
ALLOWED = {
  'objectives': BASE,
  'scene3d': BASE,
  'runtime': BASE,
  'config': BASE | {'objectives'},
  'callbacks': set(),
  'model': MODEL | {'scene3d'},
  'data': RUNTIME | {'config', 'configs', 'scene3d'},
  'evaluation': MODEL | {'model', 'scene3d'},
  'storage': RUNTIME | {'config', 'callbacks'},
  'viz': BASE | {'runtime', 'objectives', 'evaluation', 'model.spatial_transformer', 'scene3d'},
  'training': MODEL | {'callbacks', 'model', 'data', 'evaluation', 'storage'},
  'inference': MODEL
  | {'callbacks', 'model', 'data', 'evaluation', 'storage', 'viz', 'configs', 'scene3d'},
}


def modules():
  return {
    '.'.join(path.relative_to(ROOT).with_suffix('').parts): path
    for path in sorted(PACKAGE.rglob('*.py'))
    if 'configs' not in path.parts
  }


def imports_of(path, lazy=True):
  """Modules of the package that a file imports; without `lazy` only those it imports at once."""
  tree = ast.parse(path.read_text())
  nodes = ast.walk(tree) if lazy else _at_once(tree)
  found = set()
  for node in nodes:
    if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'air_jax':
      known = modules()
      for name in node.names:
        inner = f'{node.module}.{name.name}'
        package = f'{inner}.__init__'
        found.add(inner if inner in known or package in known else node.module)
    elif isinstance(node, ast.Import):
      found |= {name.name for name in node.names if name.name.startswith('air_jax')}
  return found


def _at_once(node):
  """Nodes outside functions and of no `if TYPE_CHECKING`."""
  for child in ast.iter_child_nodes(node):
    if isinstance(child, (ast.FunctionDef, ast.Lambda)):
      continue
    if isinstance(child, ast.If) and 'TYPE_CHECKING' in ast.unparse(child.test):
      continue
    yield child
    yield from _at_once(child)


def part_of(module):
  return module.removeprefix('air_jax').strip('.').split('.')[0]


@pytest.mark.parametrize('part', ALLOWED)
def test_imports_go_downwards(part):
  for module, path in modules().items():
    if part_of(module) != part:
      continue
    for imported in imports_of(path, lazy=part != 'callbacks'):
      if part == 'callbacks' and imported not in imports_of(path, lazy=False):
        continue
      inner = imported.removeprefix('air_jax.')
      allowed = {part, *ALLOWED[part]}
      assert part_of(imported) in allowed or inner in allowed, f'{module} imports {imported}'


def test_no_two_files_import_each_other():
  graph = {module: imports_of(path) for module, path in modules().items()}
  graph = {module: {each for each in found if each in graph} for module, found in graph.items()}

  @functools.cache
  def reached(module):
    seen, left = set(), [*graph[module]]
    while left:
      if (each := left.pop()) not in seen:
        seen.add(each)
        left += graph[each]
    return seen

  assert [module for module in graph if module in reached(module)] == []


def test_no_file_is_longer_than_300_lines():
  files = [
    *modules().values(),
    *(ROOT / 'benchmarks').glob('*.py'),
    *(ROOT / 'configs').glob('*.py'),
  ]
  long = {path.name: len(path.read_text().splitlines()) for path in files}
  assert {name: lines for name, lines in long.items() if lines > 300} == {}


def test_every_public_function_is_annotated():
  missing = []
  for module, path in modules().items():
    for node in ast.walk(ast.parse(path.read_text())):
      if not isinstance(node, ast.ClassDef | ast.Module):
        continue
      if isinstance(node, ast.ClassDef) and node.name.startswith('_'):
        continue
      for function in node.body:
        if isinstance(function, ast.FunctionDef) and not function.name.startswith('_'):
          missing += _unannotated(module, function)
  assert missing == []


def _unannotated(module, function):
  arguments = function.args
  own = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
  own += [each for each in (arguments.vararg, arguments.kwarg) if each]
  names = [each.arg for each in own if each.annotation is None and each.arg not in ('self', 'cls')]
  if names or function.returns is None:
    return [f'{module}.{function.name}({", ".join(names)})']
  return []
