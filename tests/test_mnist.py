"""MNIST through tensorflow-datasets, from a server on this machine instead of the mirror."""

import functools
import http.server
import pathlib
import socket
import threading
import time

import numpy as np
import pytest
import samples
import tensorflow_datasets as tfds

from air_jax.data import glyphs as glyphs_lib
from air_jax.data import mnist
from air_jax.errors import UserError


@pytest.fixture
def server(tmp_path):
  """A running server of four small IDX files, whose content is `arrays`."""
  folder = tmp_path / 'served'
  folder.mkdir()

  class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
      self.server.requested.append(self.path)

  handler = functools.partial(Handler, directory=folder)
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
    running.requested, running.folder, running.arrays = [], folder, samples.write_idx(folder)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    thread.join()


@pytest.fixture
def make_builder(tmp_path):
  def make(port):
    builder = mnist.AirMnist(file_format='array_record', data_dir=tmp_path / 'records')
    builder.mirror = f'http://127.0.0.1:{port}/'
    return builder

  return make


def closed_port():
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    return free.getsockname()[1]


def test_builder_gives_what_the_mirror_serves_and_keeps_it(server, make_builder):
  for split, (images, labels) in server.arrays.items():
    loaded = mnist.load(split, make_builder(server.server_port))
    order = loaded[0][:, 4, 5]  # TFDS shuffles
    assert sorted(order) == list(range(len(images)))
    np.testing.assert_array_equal(loaded[0], images[order])
    np.testing.assert_array_equal(loaded[1], labels[order])
    assert loaded[0].dtype == np.uint8 and loaded[1].dtype == np.int32
  assert len(server.requested) == 5  # four files and a first knock, in all
  # A second use, in another process as it were, asks nobody.
  again = mnist.load('test', make_builder(closed_port()))
  np.testing.assert_array_equal(again[0], loaded[0])
  np.testing.assert_array_equal(again[1], loaded[1])


def test_glyphs_without_a_folder_come_from_the_builder(monkeypatch):
  images, labels = np.full((1, 28, 28), 7, np.uint8), np.full(1, 3, np.int32)
  monkeypatch.setattr(mnist, 'load', lambda split: {'test': (images, labels)}[split])
  loaded = glyphs_lib.load('mnist', 'test')
  assert loaded.images is images and loaded.labels is labels


def test_unreachable_mirror_tells_at_once_to_give_a_folder(make_builder):
  begun = time.monotonic()
  with pytest.raises(UserError, match=r'ConnectionError.*--config\.data\.mnist_dir='):
    mnist.load('train', make_builder(closed_port()))
  assert time.monotonic() - begun < 10


def test_mirror_without_the_files_tells_to_give_a_folder(server, make_builder):
  for path in server.folder.iterdir():
    path.unlink()
  with pytest.raises(UserError, match=r'HTTPError.*--config\.data\.mnist_dir='):
    mnist.load('train', make_builder(server.server_port))


def test_mirror_that_breaks_off_tells_to_give_a_folder(server, make_builder):
  (server.folder / glyphs_lib.IDX_FILES['train'][0]).unlink()
  with pytest.raises(UserError, match=r'--config\.data\.mnist_dir='):
    mnist.load('train', make_builder(server.server_port))


def test_registered_checksums_are_those_that_tfds_knows():
  known = pathlib.Path(tfds.__file__).parent / 'url_checksums' / 'mnist.txt'
  lines = [line.split('\t') for line in known.read_text().splitlines()]
  theirs = {url: (int(size), checksum, name) for url, size, checksum, name in lines}
  ours = {
    url: (info.size, info.checksum, info.filename) for url, info in mnist.AirMnist.url_infos.items()
  }
  assert ours == theirs
  names = [name for pair in glyphs_lib.IDX_FILES.values() for name in pair]
  assert set(ours) == {mnist.AirMnist.mirror + name for name in names}
