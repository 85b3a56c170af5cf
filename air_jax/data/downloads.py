"""Original files of data sets, through the download manager of tensorflow-datasets."""

import os
import pathlib
import shutil

import requests
import tensorflow_datasets as tfds

from air_jax.errors import UserError

URLS = {
  'mnist': [
    f'https://storage.googleapis.com/cvdf-datasets/mnist/{name}.gz'
    for name in (
      'train-images-idx3-ubyte',
      'train-labels-idx1-ubyte',
      't10k-images-idx3-ubyte',
      't10k-labels-idx1-ubyte',
    )
  ],
  'omniglot': [
    'https://github.com/brendenlake/omniglot/raw/master/python/images_background.zip',
  ],
}
_TIMEOUT = 5.0  # seconds; TFDS itself retries for minutes before it gives up


def fetch(source, cache):
  """Downloads a source's files, once; sizes and checksums are those in checksums.tsv.

  Args:
    source: 'mnist' or 'omniglot'.
    cache: folder to keep them in.

  Returns:
    path of the folder that holds them under their own names.

  Raises:
    UserError: they cannot be had: there is no network, say.
  """
  folder = pathlib.Path(cache) / source
  missing = [url for url in URLS[source] if not (folder / _name(url)).exists()]
  if not missing:
    return folder
  try:
    requests.head(missing[0], timeout=_TIMEOUT, allow_redirects=True).raise_for_status()
    manager = tfds.download.DownloadManager(
      download_dir=folder / 'downloading', url_infos=known_files(), force_checksums_validation=True
    )
    for url in missing:
      _keep(manager.download(url), folder / _name(url))
  except Exception as error:  # TFDS has many, of its own and of the libraries below
    raise UserError(
      f'{source} cannot be downloaded from {missing[0]} ({type(error).__name__}: {error}); give a '
      f'folder that holds {", ".join(map(_name, URLS[source]))} with '
      f'--config.data.{source}_dir=FOLDER'
    ) from error
  shutil.rmtree(folder / 'downloading')
  return folder


def known_files():
  """Size and checksum of each file, by its URL."""
  table = pathlib.Path(__file__).with_name('checksums.tsv').read_text()
  infos = {}
  for line in table.splitlines():
    url, size, checksum, name = line.split('\t')
    infos[url] = tfds.download.checksums.UrlInfo(int(size), checksum, name)
  return infos


def _name(url):
  return url.rsplit('/', 1)[1]


def _keep(downloaded, path):
  """Moves a whole file to its name: a reader never meets half of it."""
  path.parent.mkdir(parents=True, exist_ok=True)
  os.replace(downloaded, path)
