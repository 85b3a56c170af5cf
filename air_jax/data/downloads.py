"""Downloads the original files of data sets with the download manager of tensorflow-datasets."""

import os
import pathlib
import shutil

import requests
import tensorflow_datasets as tfds

from air_jax.data.glyphs import GlyphSource
from air_jax.errors import UserError

_TIMEOUT = 5.0  # seconds; without a first request TFDS retries for minutes before it gives up


def fetch(name: str, source: GlyphSource, cache: str | os.PathLike) -> pathlib.Path:
  """Downloads a data set's files once and checks their sizes and checksums.

  Args:
    name: of the data set.
    source: lists the files.
    cache: folder to keep them in.

  Returns:
    the folder that holds them under their own names.

  Raises:
    UserError: a file cannot be downloaded, or has another checksum.
  """
  folder = pathlib.Path(cache) / name
  missing = [file for file in source.files if not (folder / file.name).exists()]
  if not missing:
    return folder
  infos = {f.url: tfds.download.checksums.UrlInfo(f.size, f.sha256, f.name) for f in missing}
  try:
    requests.head(missing[0].url, timeout=_TIMEOUT, allow_redirects=True).raise_for_status()
    manager = tfds.download.DownloadManager(
      download_dir=folder / 'downloading', url_infos=infos, force_checksums_validation=True
    )
    for file in missing:
      downloaded = manager.download(file.url)
      folder.mkdir(parents=True, exist_ok=True)
      os.replace(downloaded, folder / file.name)  # atomic: no reader meets half a file
  except Exception as error:  # TFDS and the libraries below it raise many types
    names = ', '.join(file.name for file in source.files)
    raise UserError(
      f'{name} cannot be downloaded from {missing[0].url} ({type(error).__name__}: {error}); set '
      f'data.{source.folder_key} to a folder that holds {names}'
    ) from error
  shutil.rmtree(folder / 'downloading')
  return folder
