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

from air_jax.data import downloads, mnist, omniglot, sources
from air_jax.data.glyphs import File
from air_jax.errors import UserError

NAMES = [name for pair in mnist.IDX_FILES.values() for name in pair]


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


def mnist_at(port, folder=None):
  """MNIST at a port of this machine, with the checksums of a folder's files."""
  files = []
  for name in NAMES:
    content = (folder / name).read_bytes() if folder else b''
    url = f'http://127.0.0.1:{port}/{name}'
    files.append(File(url, len(content), hashlib.sha256(content).hexdigest()))
  return mnist.SOURCE._replace(files=tuple(files))


def closed_port():
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    return free.getsockname()[1]


def test_files_come_under_their_own_names_and_are_kept(server, tmp_path):
  source = mnist_at(server.server_port, server.folder)
  folder = downloads.fetch('mnist', source, tmp_path / 'cache')
  assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
    name: (server.folder / name).read_bytes() for name in NAMES
  }
  assert len(server.requested) == 5  # four files and a first knock
  # A second use asks nobody.
  source = mnist_at(closed_port())
  assert downloads.fetch('mnist', source, str(tmp_path / 'cache')) == folder
  assert len(server.requested) == 5


def test_what_was_broken_off_is_gone_on_with(server, tmp_path):
  source = mnist_at(server.server_port, server.folder)
  last = server.folder / NAMES[-1]
  content = last.read_bytes()
  last.unlink()
  with pytest.raises(UserError, match=r'set data\.mnist_dir to a folder'):
    downloads.fetch('mnist', source, tmp_path)
  server.requested.clear()
  last.write_bytes(content)
  folder = downloads.fetch('mnist', source, tmp_path)
  assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
  assert set(server.requested) == {f'/{NAMES[-1]}'}


def test_other_content_than_registered_is_refused(server, tmp_path):
  source = mnist_at(server.server_port, server.folder)
  path = server.folder / NAMES[2]
  path.write_bytes(path.read_bytes()[:-1] + b'?')
  with pytest.raises(
    UserError, match=r'(?s)NonMatchingChecksumError.*set data\.mnist_dir to a folder'
  ):
    downloads.fetch('mnist', source, tmp_path)
  assert not (tmp_path / 'mnist' / NAMES[2]).exists()


def test_unreachable_server_tells_at_once_to_give_a_folder(tmp_path):
  source = mnist_at(closed_port())
  begun = time.monotonic()
  with pytest.raises(
    UserError, match=r'ConnectionError.*set data\.mnist_dir to a folder'
  ) as raised:
    downloads.fetch('mnist', source, tmp_path)
  assert time.monotonic() - begun < 10
  assert all(name in str(raised.value) for name in NAMES)


def test_server_without_the_files_tells_to_give_a_folder(server, tmp_path):
  source = mnist_at(server.server_port, server.folder)
  for path in server.folder.iterdir():
    path.unlink()
  with pytest.raises(UserError, match=r'HTTPError.*set data\.mnist_dir to a folder'):
    downloads.fetch('mnist', source, tmp_path)


def test_unreachable_omniglot_names_its_own_key(tmp_path):
  url = f'http://127.0.0.1:{closed_port()}/images_background.zip'
  source = omniglot.SOURCE._replace(files=(File(url, 0, ''),))
  message = r'set data\.omniglot_dir to a folder that holds images_background\.zip'
  with pytest.raises(UserError, match=message):
    downloads.fetch('omniglot', source, tmp_path)


def test_registered_checksums_are_those_that_tfds_knows():
  theirs = {}
  for name in ('mnist', 'omniglot'):
    known = pathlib.Path(tfds.__file__).parent / 'url_checksums' / f'{name}.txt'
    for line in known.read_text().splitlines():
      url, size, checksum, _ = line.split('\t')
      theirs[url] = int(size), checksum
  ours = {
    file.url: (file.size, file.sha256)
    for source in sources.GLYPHS.values()
    for file in source.files
  }
  assert len(ours) == 5 and ours.items() <= theirs.items()
  assert {file.name for file in mnist.SOURCE.files} == set(NAMES)
