"""What a mode does with a run that may only be read, and with --out."""

import errno
import os

import pytest

from air_jax.cli import evaluate, output
from air_jax.errors import UserError
from air_jax.storage import run_dir


@pytest.fixture
def read_only(monkeypatch):
  """Declares folders read-only, for root as well."""
  folders = []
  access, write = os.access, run_dir.files.write_atomic

  def inside(path):
    return any(os.path.abspath(path).startswith(str(folder)) for folder in folders)

  def refused(path, data):
    if inside(path):
      raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
    write(path, data)

  def allowed(path, mode):
    return not (inside(path) and mode & os.W_OK) and access(path, mode)

  monkeypatch.setattr(run_dir.files, 'write_atomic', refused)
  monkeypatch.setattr(os, 'access', allowed)
  return folders.append


def test_a_run_that_may_only_be_read_is_evaluated_and_nothing_is_kept(copy, read_only, capsys):
  kept = (copy / 'evaluation.json').read_bytes()
  known = run_dir.read_evaluation(copy)
  read_only(copy)
  summary, folder = evaluate.evaluate_run(copy)
  assert summary == known and folder is None
  (line,) = capsys.readouterr().err.splitlines()
  assert line.endswith(f'nothing is kept in {copy}: Read-only file system')
  assert (copy / 'evaluation.json').read_bytes() == kept


def test_other_errors_of_writing_are_not_hidden(tmp_path):
  with pytest.raises(OSError, match='No space left'), output.kept_in(tmp_path):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_figures_of_a_run_that_may_only_be_read_need_another_folder(tmp_path, read_only):
  (run := tmp_path / 'run').mkdir()
  assert output.folder(None, run / 'missing') == run / 'missing'
  read_only(run)
  with pytest.raises(UserError, match=r'run/missing cannot be written to; --out=FOLDER names'):
    output.folder(None, run / 'missing')
  target = output.folder(str(tmp_path / 'new'), run)
  assert target == tmp_path / 'new' and target.is_dir()
  (target / 'mine').touch()
  with pytest.raises(UserError, match=r'--out=.*new is not empty; it must name a new folder'):
    output.folder(str(target), run)
  with pytest.raises(UserError, match=r'--out=.*mine cannot be made: '):
    output.folder(str(target / 'mine'), run)
