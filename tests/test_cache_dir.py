"""Where things are kept that can be made again."""

import pathlib

import pytest

from air_jax.errors import UserError
from air_jax.runtime.cache_dir import cache_dir


def test_the_folder_is_in_the_users_cache_folder(monkeypatch, tmp_path):
  monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  assert cache_dir() == tmp_path / 'home' / '.cache' / 'air_jax'
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  assert cache_dir() == tmp_path / 'cache' / 'air_jax'


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
  def home():
    raise RuntimeError('Could not determine home directory.')

  monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
  monkeypatch.setattr(pathlib.Path, 'home', home)
  with pytest.raises(UserError, match='set HOME, or set XDG_CACHE_HOME to a folder'):
    cache_dir()
