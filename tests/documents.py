"""The pages that tests of the documents read."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md']
PAGES += sorted(f'docs/{path.name}' for path in ROOT.glob('docs/*.md'))


def text(page):
  """The Markdown of a page, named by its path in the repository."""
  return (ROOT / page).read_text()
