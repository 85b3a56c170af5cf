"""Hooks of `mkdocs build`: API pages for every package, and formulas as pictures.

GitHub renders LaTeX by itself. On the site matplotlib turns it into SVG while the site is built, so
that a page loads nothing from the network.
"""

import ast
import html
import io
import pathlib
import re
import zlib

import matplotlib.mathtext
from matplotlib import font_manager
from mkdocs.structure.files import File

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_PACKAGE = _ROOT / 'air_jax'
# The order of the pages: what a user of the library needs comes first.
_FIRST = ('air_jax', 'objectives', 'model', 'inference', 'training', 'config', 'data')
_HIDDEN = {'cli', 'configs'}
_MATH = re.compile(r'(```.*?```|`[^`\n]*`)|\$\$(.+?)\$\$|\$([^$\n]+?)\$', re.DOTALL)


def on_config(config):
  """Adds the API pages to the navigation."""
  pages = [{title: path} for path, title, _ in _api_pages()]
  config.nav.append({'API': [{'Overview': 'api/index.md'}, *pages]})
  return config


def on_files(files, config):
  """Adds the API pages themselves."""
  pages = _api_pages()
  rows = ''.join(
    f'| [{title}]({pathlib.Path(p).name}) | {_summary(title)} |\n' for p, title, _ in pages
  )
  index = f'# API\n\nGenerated from the docstrings.\n\n| package | contents |\n|---|---|\n{rows}'
  for path, text in [('api/index.md', index), *((path, text) for path, _, text in pages)]:
    files.append(File.generated(config, path, content=text))
  return files


def on_page_markdown(markdown, page, **_):
  """Replaces LaTeX outside code by SVG."""
  return _MATH.sub(_formula, markdown)


def _api_pages():
  """The (path, title, Markdown) of each package that has public modules."""
  packages = {p.parent.name: p.parent for p in _PACKAGE.glob('*/__init__.py')}
  packages = {name: folder for name, folder in packages.items() if name not in _HIDDEN}
  order = sorted(packages, key=lambda n: (_FIRST.index(n) if n in _FIRST else len(_FIRST), n))
  top = [path for path in sorted(_PACKAGE.glob('*.py')) if not path.stem.startswith('_')]
  pages = [_page('air_jax', [_PACKAGE / '__init__.py', *top])]
  for name in order:
    folder = packages[name]
    modules = [p for p in sorted(folder.rglob('*.py')) if p.stem != '__init__']
    pages.append(_page(f'air_jax.{name}', modules))
  return pages


def _page(title, modules):
  text = f'# {title}\n\n{_summary(title)}\n'
  for path in modules:
    parts = path.relative_to(_ROOT).with_suffix('').parts
    name = '.'.join(part for part in parts if part != '__init__')
    text += f'\n::: {name}\n'
  return f'api/{title.replace(".", "_")}.md', title, text


def _summary(package):
  """The first line of a package's docstring."""
  path = _ROOT / package.replace('.', '/') / '__init__.py'
  return (ast.get_docstring(ast.parse(path.read_text())) or '').split('\n')[0]


def _formula(match):
  code, display, inline = match.groups()
  if code is not None:
    return code
  if display is None:
    return _svg(inline)
  lines = [line for line in re.split(r'\\\\', display) if line.strip()]
  return '\n\n' + '\n\n'.join(f'<p class="formula">{_svg(line)}</p>' for line in lines) + '\n\n'


def _svg(latex):
  """A formula as inline SVG in the colour of the text, standing on its line."""
  latex = ' '.join(latex.split())
  drawn = io.BytesIO()
  font = font_manager.FontProperties(size=12, math_fontfamily='stix')
  depth = matplotlib.mathtext.math_to_image(f'${latex}$', drawn, prop=font, dpi=72, format='svg')
  svg = drawn.getvalue().decode()
  svg = svg[svg.index('<svg') :]
  width, height = (float(n) for n in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
  body = re.search(r'<g id="figure_1">.*</g>', svg, re.DOTALL)[0]
  body = body[body.index('<g id="text_1">') :].rsplit('</g>', 1)[0]
  body = re.sub(r'\s+', ' ', body)
  # Each formula defines its glyphs: their ids must differ between formulas.
  mark = f'{zlib.crc32(latex.encode()):x}'
  body = re.sub(r'(id="|href="#)', rf'\g<1>f{mark}-', body)
  label = html.escape(latex, quote=True)
  size = f'width:{width / 12:.3f}em;height:{height / 12:.3f}em;vertical-align:{-depth / 12:.3f}em'
  return (
    f'<svg class="math" role="img" aria-label="{label}" viewBox="0 0 {width} {height}" '
    f'style="{size}">{body}</svg>'
  )
