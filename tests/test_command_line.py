"""The command line: bad input gives one line on stderr that names the mistake, harms nothing."""

import functools
import pathlib
import re
import subprocess
import sys

import program
import pytest

import air_jax
from air_jax.cli import command_line, help_text, hints, modes
from air_jax.cli.main import define_flags
from air_jax.config import saved_configs, schema
from air_jax.errors import DivergenceError, Interrupted, UserError
from air_jax.objectives.registry import ESTIMATORS

ROOT = pathlib.Path(__file__).parent.parent
TINY = '--config=tiny'
# ml_collections loads configurations so.
pytestmark = pytest.mark.filterwarnings(r'ignore:the load_module\(\) method:DeprecationWarning')


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
  """Calls the program in an empty folder; returns its exit code, stdout and stderr."""
  monkeypatch.chdir(tmp_path)
  return functools.partial(program.call, monkeypatch, capsys)


@pytest.fixture
def refused(call):
  """Calls the program, which must fail with one line; returns the line without the name."""

  def calling(*arguments):
    code, out, error = call(*arguments)
    assert code == UserError.exit_code and not out
    *progress, line = error.splitlines()
    assert not progress or 'compiling' in progress[0]
    assert line.startswith('air-jax: ') and line.isprintable()
    return line.removeprefix('air-jax: ')

  return calling


@pytest.fixture
def parsed():
  """The flags of a command line."""

  def parsing(*arguments):
    values = define_flags()
    assert command_line.parse(['air-jax', *arguments], values) == ['air-jax']
    return values

  return parsing


@pytest.mark.parametrize(
  ('arguments', 'says'),
  [
    (['--config.train.stpes=3'], r"'train\.stpes'; did you mean 'train\.steps'\?"),
    ([TINY, '--noconfig.model.residul'], r"'model\.residul'; did you mean 'model\.residual'\?"),
    ([TINY, '--config.train.steps=abc'], r"--config\.train\.steps=abc: .*'abc'"),
    ([TINY, '--config.train.steps=3.5'], r"--config\.train\.steps=3\.5: .*'3\.5'"),
    ([TINY, '--config.train=3'], r"'train'; did you mean"),
    (['--config=nowhere.py'], r'--config=nowhere\.py is not a file; there are none in its folder'),
    ([f'--config={ROOT}/configs/tinny.py'], r'tinny\.py is not a file; .*configs/tiny\.py'),
    (['--config=tinny'], r'tinny is neither a file .*; there are .*multi_digits, .*, tiny'),
    (['--config', 'tinny'], r'tinny is neither'),
    (['--config='], r'--config= is neither'),
    (['--config'], r'--config= is neither'),
    (['--mode=dance'], r'--mode=dance: .*train\|evaluate\|figures'),
    (['--wrkdir=here'], r"'wrkdir'\. Did you mean: workdir"),
    (['--workdir'], r'Missing value for flag --workdir'),
    (['evaluate'], r"unexpected argument 'evaluate'"),
    (['--processes=2', '--process=0'], r'--processes and --process go with --coordinator'),
    (['--coordinator=here:1', '--processes=2', '--process=2'], r'I in 0\.\.N - 1; .* 2 and 2'),
    (['--coordinator=here', '--processes=2', '--process=1'], r'here is not .* HOST:PORT, the port'),
    (['--coordinator=a:99999', '--processes=2', '--process=1'], r'a:99999 is not allowed'),
  ],
  ids=lambda value: ' '.join(value).replace(str(ROOT), '.') if isinstance(value, list) else '',
)
def test_mistyped_flags_are_refused_in_one_line(refused, tmp_path, arguments, says):
  assert re.search(says, refused(*arguments))
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('text', 'reason'),
  [
    ('raise ZeroDivisionError("no\\nway")', 'way'),
    ('def get_config(): return 1 / 0', 'division by zero'),
    ('x = 1', "no attribute 'get_config'"),
    ('def get_config(): pass', r'get_config returned NoneType; it must return a ConfigDict'),
    ('def get_config(): return {"seed": 1}', r'get_config returned dict'),
    ('import sys; sys.exit(3)', r'it ends the program \(3\)'),
    ('def get_config(): exit("no")', r'it ends the program \(no\)'),
    ('get_config = 3 +', 'invalid syntax'),
  ],
)
def test_file_that_gives_no_configuration_is_refused_in_one_line(refused, tmp_path, text, reason):
  (tmp_path / 'mine.py').write_text(text)
  assert re.match(
    f'--config=mine.py gives no configuration: .*{reason}', refused('--config=mine.py')
  )


def test_impossible_value_is_refused_before_a_folder_is_made(refused, tmp_path):
  line = refused(TINY, '--config.data.layout=heap', '--workdir=run')
  assert line.startswith("config.data.layout='heap' is not allowed") and "'touching'" in line
  assert not list(tmp_path.iterdir())


def test_folder_of_a_run_that_could_not_begin_stays_free(refused, tmp_path):
  line = refused(
    TINY, '--config.data.source=mnist', '--config.data.mnist_dir=nowhere', '--workdir=run'
  )
  assert line.startswith("data.mnist_dir='nowhere' is not a folder")
  assert not (tmp_path / 'run' / 'config.json').exists()


def test_file_in_place_of_the_folder_is_refused_and_kept(refused, tmp_path, scene_cache):
  (tmp_path / 'run').write_text('precious')
  line = refused(TINY, f'--config.data.cache_dir={scene_cache}', '--workdir=run')
  assert line.startswith('workdir run cannot be used: ')
  assert (tmp_path / 'run').read_text() == 'precious'


@pytest.mark.parametrize('mode', sorted(modes.MODES.keys() - {'train', 'demo', 'report'}))
def test_other_modes_need_a_run(refused, tmp_path, mode):
  line = refused(f'--mode={mode}', '--workdir=run', *(['--images=here'] if mode == 'parse' else []))
  assert line.startswith('run holds no run: ')
  assert not list(tmp_path.iterdir())


def test_flags_of_one_mode_are_refused_in_another(refused):
  line = refused('--mode=figures', '--particles=9', '--workdir=run')
  assert line == '--particles goes with --mode=evaluate, not with --mode=figures'
  line = refused('--objectives=exact', '--workdir=run')
  assert line == '--objectives goes with --mode=variance, not with --mode=train'
  line = refused('--mode=train', '--member=0')
  assert line.startswith('--member goes with --mode=evaluate or figures or')


@pytest.mark.parametrize('mode', ['evaluate', 'parse', 'export', 'report', 'demo'])
def test_modes_of_a_run_take_no_configuration(refused, mode):
  line = refused(f'--mode={mode}', '--workdir=run', '--config=tiny')
  assert line.startswith(f'--mode={mode} takes the configuration kept in --workdir')


@pytest.mark.parametrize('mode', ['evaluate', 'parse'])
def test_modes_that_take_other_scenes_change_nothing_that_was_trained(refused, mode):
  line = refused(f'--mode={mode}', '--workdir=run', '--config.train.steps=3')
  assert line.startswith('config.train.steps cannot change after training; what can are model.max')


def test_folder_of_a_run_is_drawn_with_its_own_configuration(refused, tmp_path, tiny_config):
  (tmp_path / 'config.json').write_text(saved_configs.to_json(tiny_config))
  for mode in ('figures', 'variance'):
    line = refused(f'--mode={mode}', '--workdir=.', TINY)
    assert line.startswith(f'--mode={mode} takes the configuration kept in --workdir')


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


@pytest.mark.parametrize('given', [['--config=tiny'], ['-config', 'tiny'], ['--config=mine.py']])
def test_configuration_is_a_name_or_a_path(parsed, tmp_path, monkeypatch, given):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'mine.py').write_text((ROOT / 'configs/tiny.py').read_text())
  values = parsed(*given, '--config.train.steps=3', '--config.model.encoder_sizes=(8,9)')
  config = schema.parse(values.config)
  assert (config.train.batch_size, config.train.steps) == (8, 3)
  assert config.model.encoder_sizes == (8, 9)


def test_file_is_preferred_to_a_configuration_of_the_same_name(parsed, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'tiny').write_text((ROOT / 'configs/multi_mnist.py').read_text())
  assert parsed('--config=tiny').config.data.source == 'mnist'


def test_no_flag_at_all_means_the_embedded_digits(parsed):
  values = parsed()
  assert values['config'].config_filename.endswith('configs/multi_digits.py')
  assert (values.config.data.source, values.mode) == ('digits', 'train')


def test_folder_is_named_after_the_configuration_unless_given(call, monkeypatch):
  found = []
  mode = modes.MODES['train']._replace(run=lambda flags: found.append(flags.workdir))
  monkeypatch.setitem(modes.MODES, 'train', mode)
  for given in ([], [TINY], [TINY, '--workdir=here']):
    assert call(*given)[0] == 0
  assert found == ['runs/multi_digits', 'runs/tiny', 'here']


@pytest.mark.parametrize('flag', ['-h', '--help', '--helpshort'])
def test_help_lists_modes_flags_configurations_and_keys(call, flag):
  code, out, error = call('--mode=evaluate', flag)
  assert code == 0 and not error and max(map(len, out.splitlines())) <= 100
  for mode in modes.MODES.values():
    assert mode.help[:50] in out
  for name in set(define_flags()) - {'mode'}:
    assert f'  --{name}' in out
  for name, line in command_line.configurations().items():
    assert f'  {name} ' in out and line[:50] in out
  assert command_line.configurations().keys() == {
    path.stem for path in (ROOT / 'configs').glob('*.py')
  } - {'default', '__init__'}
  for key, (value, comment) in help_text.keys().items():
    shown = f'  --config.{key}={value}\n      {comment[:50]}'
    assert (shown in out) == (flag != '--helpshort')


def test_help_of_the_objective_names_every_estimator():
  assert all(f"'{name}'" in help_text.keys()['objective.name'].comment for name in ESTIMATORS)


def test_flags_that_go_with_a_mode_are_flags():
  values = define_flags()
  assert {flag for mode in modes.MODES.values() for flag in mode.flags} == set(values) - {
    'mode', 'workdir', 'verbose',
  }  # fmt: skip


def test_version_is_that_of_the_package(call):
  assert call('--version') == (0, f'air_jax {air_jax.__version__}\n', '')


@pytest.mark.parametrize(
  ('started', 'name', 'again'),
  [
    ('/home/me/.local/bin/air-jax', 'air-jax', 'air-jax'),
    ('/x/air_jax/__main__.py', 'air-jax', 'air-jax'),
    ('main.py', 'main.py', 'python main.py'),
    ('../my clone/main.py', 'main.py', "python '../my clone/main.py'"),
  ],
)
def test_program_is_called_what_it_was_started_as(parsed, monkeypatch, started, name, again):
  monkeypatch.setattr(sys, 'argv', [started, TINY, '--config.train.steps=7', '--workdir=a b'])
  assert command_line.program() == name
  values = parsed(*sys.argv[1:])
  text = hints.after_training(values)
  assert f"  {again} --mode=report --workdir='a b'" in text
  assert f"  {again} --config=tiny '--workdir=a b' --config.train.steps=14 " in text


@pytest.mark.parametrize(
  ('error', 'code'),
  [
    (UserError('so'), 2),
    (DivergenceError('so'), 3),
    (Interrupted(15, 7), 143),
    (KeyboardInterrupt('interrupted'), 130),
    (OSError(28, 'No space left on device', 'x.png'), 2),
  ],
)
def test_errors_end_the_program_with_their_message_and_code(capsys, error, code):
  def fail():
    raise error

  with pytest.raises(SystemExit) as end:
    command_line.one_line_errors(fail)()
  assert end.value.code == code
  full = 'cannot write x.png: No space left on device; make room, and try again'
  says = full if isinstance(error, OSError) else error
  assert capsys.readouterr().err.splitlines() == [f'{command_line.program()}: {says}']


def test_other_errors_are_not_hidden():
  with pytest.raises(ZeroDivisionError):
    command_line.one_line_errors(lambda: 1 / 0)()


def test_mistyped_flags_are_refused_without_importing_jax():
  """In a process of its own: here everything is imported already."""
  code = (
    'import sys; from air_jax.cli import main\n'
    'sys.argv[1:] = ["--config.train.stpes=3"]\n'
    'try: main.main()\n'
    'finally: print([name for name in ("jax", "numpy", "matplotlib") if name in sys.modules])'
  )
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 2 and done.stdout == '[]\n' and "'train.stpes'" in done.stderr


def test_figures_of_a_configuration_without_a_run_show_its_scenes(call, tmp_path, scene_cache):
  code, out, _ = call(
    TINY, f'--config.data.cache_dir={scene_cache}', '--mode=figures', '--workdir=look'
  )
  assert code == 0 and out.split() == ['look/figures/scenes.png']
  assert [path.name for path in (tmp_path / 'look').iterdir()] == ['figures']
