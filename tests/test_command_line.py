"""main.py given bad input: one line on stderr that names the trouble, and nothing lost."""

import pathlib
import re
import subprocess
import sys

import pytest

from air_jax.cli import command_line
from air_jax.errors import DivergenceError, Interrupted, UserError

ROOT = pathlib.Path(__file__).parent.parent
TINY = f'--config={ROOT}/configs/tiny.py'


def refused(folder, *arguments):
  """Runs main.py in a folder; it must fail with one line, which is returned without its name."""
  done = subprocess.run(
    [sys.executable, ROOT / 'main.py', *arguments], cwd=folder, capture_output=True, text=True,
    timeout=120,
  )  # fmt: skip
  assert done.returncode == UserError.exit_code, done.stderr
  assert not done.stdout
  (line,) = done.stderr.splitlines()
  assert line.startswith('main.py: ') and line.isprintable()
  return line.removeprefix('main.py: ')


@pytest.mark.parametrize(
  ('arguments', 'says'),
  [
    (['--config.train.stpes=3'], r"'train\.stpes'; did you mean 'train\.steps'\?"),
    ([TINY, '--noconfig.model.residul'], r"'model\.residul'; did you mean 'model\.residual'\?"),
    ([TINY, '--config.train.steps=abc'], r"--config\.train\.steps=abc: .*'abc'"),
    ([TINY, '--config.train.steps=3.5'], r"--config\.train\.steps=3\.5: .*'3\.5'"),
    ([TINY, '--config.train=3'], r"'train'; did you mean"),
    (['--config=nowhere.py'], r'--config=nowhere\.py is no file'),
    ([f'--config={ROOT}/configs/tinny.py'], r'tinny\.py is no file; .*configs/tiny\.py'),
    (['--mode=dance'], r'--mode=dance: .*train\|evaluate\|figures'),
    (['--wrkdir=here'], r"'wrkdir'\. Did you mean: workdir"),
    (['--workdir'], r'Missing value for flag --workdir'),
    (['evaluate'], r"unexpected argument 'evaluate'"),
  ],
  ids=lambda value: ' '.join(value).replace(str(ROOT), '.') if isinstance(value, list) else '',
)
def test_mistyped_flags_are_refused_in_one_line(tmp_path, arguments, says):
  assert re.search(says, refused(tmp_path, *arguments))
  assert not list(tmp_path.iterdir())


def test_impossible_value_is_refused_before_a_folder_is_made(tmp_path):
  line = refused(tmp_path, TINY, '--config.data.layout=heap', '--workdir=run')
  assert line.startswith("config.data.layout='heap' is not allowed") and "'touching'" in line
  assert not list(tmp_path.iterdir())


def test_folder_of_a_run_that_could_not_begin_stays_free(tmp_path):
  line = refused(
    tmp_path, TINY, '--config.data.source=mnist', '--config.data.mnist_dir=nowhere', '--workdir=run'
  )
  assert line.startswith("data.mnist_dir='nowhere' is not a folder")
  assert not (tmp_path / 'run' / 'config.json').exists()


def test_file_in_place_of_the_folder_is_refused_and_kept(tmp_path):
  (tmp_path / 'run').write_text('precious')
  assert refused(tmp_path, TINY, '--workdir=run').startswith('--workdir=run cannot be used: ')
  assert (tmp_path / 'run').read_text() == 'precious'


@pytest.mark.parametrize('mode', ['evaluate', 'figures'])
def test_other_modes_need_a_run(tmp_path, mode):
  line = refused(tmp_path, f'--mode={mode}', '--workdir=run')
  assert line.startswith('--workdir=run holds no run')
  assert not list(tmp_path.iterdir())


def test_flags_of_one_mode_are_refused_in_another(tmp_path):
  line = refused(tmp_path, '--mode=figures', '--particles=9', '--workdir=run')
  assert line == '--particles goes with --mode=evaluate, not with --mode=figures'
  line = refused(tmp_path, '--objectives=exact', '--workdir=run')
  assert line == '--objectives goes with --mode=variance, not with --mode=train'


def test_evaluation_takes_no_configuration(tmp_path):
  line = refused(tmp_path, '--mode=evaluate', '--workdir=run', '--config.train.steps=3')
  assert line.startswith('--mode=evaluate takes the configuration kept in --workdir')


@pytest.mark.parametrize(
  ('argument', 'touches'),
  [
    ('--config=configs/tiny.py', True),
    ('--config', True),
    ('-config.seed=3', True),
    ('--config.train.steps=3', True),
    ('--noconfig.model.residual', True),
    ('--workdir=config', False),
    ('--configuration=3', False),
    ('config', False),
  ],
)
def test_arguments_that_touch_the_configuration_are_known(argument, touches):
  assert command_line.touches_config(['main.py', '--mode=figures', argument]) == touches


@pytest.mark.parametrize(
  ('error', 'code'),
  [
    (UserError('so'), 2),
    (DivergenceError('so'), 3),
    (Interrupted(15, 7), 143),
    (KeyboardInterrupt('interrupted'), 130),
  ],
)
def test_errors_end_the_program_with_their_message_and_code(capsys, error, code):
  def fail():
    raise error

  with pytest.raises(SystemExit) as end:
    command_line.one_line_errors(fail)()
  assert end.value.code == code
  assert capsys.readouterr().err.splitlines() == [f'{pathlib.Path(sys.argv[0]).name}: {error}']


def test_other_errors_are_not_hidden():
  with pytest.raises(ZeroDivisionError):
    command_line.one_line_errors(lambda: 1 / 0)()


def test_no_flag_at_all_means_the_embedded_digits(tmp_path):
  code = (
    'import sys; from absl import app, flags; import main; from air_jax import command_line\n'
    'command_line.parse(["main.py"]); print(flags.FLAGS["config"].config_filename)'
  )
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
  assert done.stdout.strip() == 'configs/multi_digits.py', done.stderr


def test_figures_of_a_configuration_without_a_run_show_its_scenes(tmp_path):
  done = subprocess.run(
    [sys.executable, ROOT / 'main.py', TINY, '--mode=figures', '--workdir=look'],
    cwd=tmp_path, capture_output=True, text=True, timeout=120,
  )  # fmt: skip
  assert done.returncode == 0 and done.stdout.split() == ['look/figures/scenes.png']
  assert [path.name for path in (tmp_path / 'look').iterdir()] == ['figures']
