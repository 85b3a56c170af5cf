"""Original files, from a server on this machine instead of their own."""

import functools
import hashlib
import http.server
import pathlib
import socket
import threading
import time

import pytest
import samples
import tensorflow_datasets as tfds

from air_jax.data import downloads, glyphs
from air_jax.errors import UserError

NAMES = [name for pair in glyphs.IDX_FILES.values() for name in pair]


@pytest.fixture
def server(tmp_path):
  """A running server of four small IDX files."""
  folder = tmp_path / 'served'
  folder.mkdir()

  class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
      self.server.requested.append(self.path)

  handler = functools.partial(Handler, directory=folder)
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
    running.requested, running.folder = [], folder
    samples.write_idx(folder)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    thread.join()


@pytest.fixture
def point_to(monkeypatch):
  """A function that has MNIST at a port of this machine, with checksums of a folder's files."""

  def point_to(port, folder=None):
    urls = [f'http://127.0.0.1:{port}/{name}' for name in NAMES]
    infos = {}
    for url, name in zip(urls, NAMES, strict=True):
      content = (folder / name).read_bytes() if folder else b''
      checksum = hashlib.sha256(content).hexdigest()
      infos[url] = tfds.download.checksums.UrlInfo(len(content), checksum, name)
    monkeypatch.setitem(downloads.URLS, 'mnist', urls)
    monkeypatch.setattr(downloads, 'known_files', lambda: infos)

  return point_to


def closed_port():
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    return free.getsockname()[1]


def test_files_come_under_their_own_names_and_are_kept(server, point_to, tmp_path):
  point_to(server.server_port, server.folder)
  folder = downloads.fetch('mnist', tmp_path / 'cache')
  assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
    name: (server.folder / name).read_bytes() for name in NAMES
  }
  assert len(server.requested) == 5  # four files and a first knock
  # A second use asks nobody.
  point_to(closed_port())
  assert downloads.fetch('mnist', str(tmp_path / 'cache')) == folder
  assert len(server.requested) == 5


def test_what_was_broken_off_is_gone_on_with(server, point_to, tmp_path):
  point_to(server.server_port, server.folder)
  last = server.folder / NAMES[-1]
  content = last.read_bytes()
  last.unlink()
  with pytest.raises(UserError, match=r'--config\.data\.mnist_dir='):
    downloads.fetch('mnist', tmp_path)
  server.requested.clear()
  last.write_bytes(content)
  folder = downloads.fetch('mnist', tmp_path)
  assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
  assert set(server.requested) == {f'/{NAMES[-1]}'}


def test_other_content_than_registered_is_refused(server, point_to, tmp_path):
  point_to(server.server_port, server.folder)
  path = server.folder / NAMES[2]
  path.write_bytes(path.read_bytes()[:-1] + b'?')
  with pytest.raises(UserError, match=r'(?s)NonMatchingChecksumError.*--config\.data\.mnist_dir='):
    downloads.fetch('mnist', tmp_path)
  assert not (tmp_path / 'mnist' / NAMES[2]).exists()


def test_unreachable_server_tells_at_once_to_give_a_folder(point_to, tmp_path):
  point_to(closed_port())
  begun = time.monotonic()
  with pytest.raises(UserError, match=r'ConnectionError.*--config\.data\.mnist_dir=') as raised:
    downloads.fetch('mnist', tmp_path)
  assert time.monotonic() - begun < 10
  assert all(name in str(raised.value) for name in NAMES)


def test_server_without_the_files_tells_to_give_a_folder(server, point_to, tmp_path):
  point_to(server.server_port, server.folder)
  for path in server.folder.iterdir():
    path.unlink()
  with pytest.raises(UserError, match=r'HTTPError.*--config\.data\.mnist_dir='):
    downloads.fetch('mnist', tmp_path)


def test_unreachable_omniglot_names_its_own_key(monkeypatch, tmp_path):
  url = f'http://127.0.0.1:{closed_port()}/images_background.zip'
  monkeypatch.setitem(downloads.URLS, 'omniglot', [url])
  with pytest.raises(UserError, match=r'images_background\.zip .*--config\.data\.omniglot_dir='):
    downloads.fetch('omniglot', tmp_path)


def test_registered_checksums_are_those_that_tfds_knows():
  theirs = {}
  for source in ('mnist', 'omniglot'):
    known = pathlib.Path(tfds.__file__).parent / 'url_checksums' / f'{source}.txt'
    for line in known.read_text().splitlines():
      url, size, checksum, name = line.split('\t')
      theirs[url] = int(size), checksum, name
  ours = {
    url: (info.size, info.checksum, info.filename) for url, info in downloads.known_files().items()
  }
  assert ours.items() <= theirs.items()
  assert set(ours) == {url for urls in downloads.URLS.values() for url in urls}
  assert {url.rsplit('/', 1)[1] for url in downloads.URLS['mnist']} == set(NAMES)
