"""Small files: whole or not at all."""

import os
import stat

import pytest

from air_jax.errors import UserError
from air_jax.runtime import files


@pytest.mark.parametrize('data, content', [('naïve', 'naïve'.encode()), (b'\x00\xff', b'\x00\xff')])
def test_what_is_written_replaces_what_was_there(tmp_path, data, content):
  path = tmp_path / 'file'
  path.write_text('before')
  files.write_atomic(path, data)
  assert path.read_bytes() == content and list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path):
  old = os.umask(0o027)
  try:
    files.write_atomic(tmp_path / 'file', '')
  finally:
    os.umask(old)
  assert stat.S_IMODE((tmp_path / 'file').stat().st_mode) == 0o640


@pytest.mark.parametrize('fails', ['fsync', 'replace'])
def test_what_cannot_be_written_leaves_everything_as_it_was(tmp_path, monkeypatch, fails):
  path = tmp_path / 'file'
  path.write_text('before')

  def fail(*_):
    raise OSError('disk full')

  monkeypatch.setattr(os, fails, fail)
  with pytest.raises(OSError, match='disk full'):
    files.write_atomic(path, 'after')
  assert path.read_text() == 'before' and list(tmp_path.iterdir()) == [path]


def test_json_is_read_back_and_none_where_there_is_none(tmp_path):
  assert files.read_json(tmp_path / 'a.json') is None
  files.write_json(tmp_path / 'a.json', {'x': [1, 2.5, None]})
  assert files.read_json(tmp_path / 'a.json') == {'x': [1, 2.5, None]}


@pytest.mark.parametrize('content', [b'', b'{"x": 1', b'\xff\xfe\xfd', b'[' * 100_000, b'nothing'])
def test_damaged_json_is_named(tmp_path, content):
  path = tmp_path / 'a.json'
  path.write_bytes(content)
  with pytest.raises(UserError, match=r'a\.json is damaged or cannot be read: .') as caught:
    files.read_json(path)
  assert '\n' not in str(caught.value)
