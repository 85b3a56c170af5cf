"""Attend, Infer, Repeat: trains it, evaluates it, draws what it sees.

    python main.py                                    trains on the embedded digits
    python main.py --config=configs/multi_mnist.py --config.data.mnist_dir=FOLDER --workdir=FOLDER
    python main.py --mode=evaluate --workdir=FOLDER   held-out figures, as a table and as JSON
        [--particles=100]                             with a bound of so many samples
    python main.py --mode=figures --workdir=FOLDER    pictures, still and moving
    python main.py --mode=variance --workdir=FOLDER   how noisy each objective's gradient is
        [--draws=200] [--objectives=exact,nvil]
    python main.py --mode=parse --workdir=FOLDER --images=FOLDER_OR_PATTERN
        [--out=FOLDER] [--noannotate]             the objects of your pictures, as JSON and drawn
    python main.py --mode=export --workdir=FOLDER [--out=FILE]
                                                  the parser as one file that needs JAX alone
    python main.py --mode=report --workdir=FOLDER [--compare=FOLDER,FOLDER] [--out=FILE]
                                                  one HTML page: figures, pictures, configuration
    python main.py --mode=demo [--workdir=FOLDER] [--host=NAME] [--port=8000]
                                                  a page to draw on, in a browser
        [--member=3]                              of a population trained by train.population

Training by several processes, each started so, with a number of its own; or with --distributed,
which finds the numbers in the environment (Slurm, Open MPI, a TPU pod, GKE):

    python main.py --coordinator=HOST:PORT --processes=2 --process=0 ...

Every key of the configuration can be set, as in --config.train.steps=5000. On a folder without a
run, `figures` shows the scenes, and `variance` measures an untrained model.
"""

import contextlib
import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from air_jax.cli import command_line
from air_jax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file('config', None, 'What to train; a file in configs/.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run; default runs/<config name>.')
_MODE = flags.DEFINE_enum(
  'mode',
  'train',
  ['train', 'evaluate', 'figures', 'variance', 'parse', 'export', 'report', 'demo'],
  'What to do.',
)
_PARTICLES = flags.DEFINE_integer(
  'particles', 0, 'With --mode=evaluate: samples of a tighter bound; 0 has none.', lower_bound=0
)
_DRAWS = flags.DEFINE_integer(
  'draws', 200, 'With --mode=variance: gradients of each objective.', lower_bound=10
)
_OBJECTIVES = flags.DEFINE_list(
  'objectives', None, 'With --mode=variance: which to measure; default all.'
)
_MEMBER = flags.DEFINE_integer(
  'member', None, 'Which member of a population; default all to evaluate, else the best.'
)
_IMAGES = flags.DEFINE_string(
  'images', None, 'With --mode=parse: a folder of pictures, or a pattern such as "photos/*.png".'
)
_OUT = flags.DEFINE_string(
  'out', None, 'Where --mode=parse, export or report write; default in --workdir.'
)
_ANNOTATE = flags.DEFINE_bool('annotate', True, 'With --mode=parse: also draw each picture.')
_COMPARE = flags.DEFINE_list(
  'compare', [], 'With --mode=report: folders of other runs, to be set beside this one.'
)

_HOST = flags.DEFINE_string('host', '127.0.0.1', 'With --mode=demo: 0.0.0.0 lets others see it.')
_PORT = flags.DEFINE_integer(
  'port', 8000, 'With --mode=demo; 0 takes one that is free.', lower_bound=0, upper_bound=65535
)

_DISTRIBUTED = flags.DEFINE_bool(
  'distributed', False, 'Train as one of several processes that the environment tells of.'
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator', None, 'Train as one of several processes; where the first one listens, HOST:PORT.'
)
_PROCESSES = flags.DEFINE_integer('processes', None, 'With --coordinator: how many.', lower_bound=1)
_PROCESS = flags.DEFINE_integer(
  'process', None, 'With --coordinator: the number of this one, from 0.', lower_bound=0
)

_GOES_WITH = {
  'particles': ('evaluate',),
  'draws': ('variance',),
  'objectives': ('variance',),
  'member': ('evaluate', 'figures', 'variance', 'parse', 'export', 'report', 'demo'),
  'images': ('parse',),
  'out': ('parse', 'export', 'report'),
  'compare': ('report',),
  'annotate': ('parse',),
  'host': ('demo',),
  'port': ('demo',),
  'distributed': ('train',),
  'coordinator': ('train',),
}


@command_line.one_line_errors
def main(argv):
  """Does what --mode says, to the run in --workdir."""
  logging.set_verbosity(logging.WARNING)  # orbax tells every rename
  mode = _MODE.value
  if argv[1:]:
    raise UserError(f'unexpected argument {argv[1]!r}; flags look like --workdir=FOLDER')
  for flag, modes in _GOES_WITH.items():
    if flags.FLAGS[flag].present and mode not in modes:
      raise UserError(f'--{flag} goes with --mode={" or ".join(modes)}, not with --mode={mode}')
  if mode == 'parse' and not _IMAGES.value:
    raise UserError('--mode=parse needs --images=FOLDER, or a pattern such as "photos/*.png"')
  # These take seconds to import; mistyped flags are reported without them.
  from air_jax.config import schema as config_lib
  from air_jax.data import loading
  from air_jax.evaluation import held_out, population_summary
  from air_jax.runtime import compilation_cache, cpu_devices
  from air_jax.inference import predictor, run_figures
  from air_jax.storage import metric_writers, run_dir
  from air_jax.training import gradient_norms, gradient_variance, loop, train_step

  compilation_cache.keep()
  config_name = pathlib.Path(flags.FLAGS['config'].config_filename).stem
  workdir = _WORKDIR.value or f'runs/{config_name}'
  if mode == 'train':
    if not (_DISTRIBUTED.value or _COORDINATOR.value):
      cpu_devices.become_devices(_CONFIG.value.train.population)
    with _processes():
      print(population_summary.table(loop.train(_CONFIG.value, workdir)))
    return
  chosen = command_line.touches_config(sys.argv)
  untrained = chosen and mode in ('figures', 'variance') and not run_dir.exists(workdir)
  if chosen and not untrained:
    raise UserError(f'--mode={mode} takes the configuration kept in --workdir; drop --config')
  if mode == 'evaluate' and _MEMBER.value is None:
    print(population_summary.table(population_summary.evaluate_all(workdir, _PARTICLES.value)))
    return
  if mode in ('parse', 'export'):
    print(_use(mode, workdir))
    return
  if mode == 'report':
    from air_jax.inference.report import page

    def norms(images):
      learner, state, _ = run_dir.restore(workdir, _MEMBER.value)
      return gradient_norms.by_part(learner, state, images)

    print(page.write(workdir, _MEMBER.value, _COMPARE.value, _OUT.value, norms))
    return
  if mode == 'demo':
    _show(workdir)
    return
  if untrained:
    learning = train_step.make(config_lib.parse(_CONFIG.value))
    state, folder = train_step.init(learning), pathlib.Path(workdir).expanduser()
  else:
    learning, state, folder = run_dir.restore(workdir, _MEMBER.value)
  scenes = loading.load(learning.config.data, 'test')
  if mode == 'variance':
    summary = gradient_variance.measure(learning, state, scenes, _DRAWS.value, _OBJECTIVES.value)
    gradient_variance.write(summary, folder)
    run_figures.draw_variance(summary, folder)
    print(gradient_variance.table(summary))
  elif untrained:
    print('\n'.join(map(str, run_figures.draw_scenes(scenes, folder))))
  else:
    evaluation, summary = held_out.held_out(learning, state, scenes, _PARTICLES.value)
    if mode == 'evaluate':
      held_out.write(summary, folder)
      print(held_out.table(summary))
    else:
      model = predictor.Model(learning.config, learning.model, state.average, int(state.step))
      records = metric_writers.read(folder)
      paths = run_figures.draw_run(model, scenes, evaluation, records, folder)
      paths += run_figures.draw_animations(model, scenes, folder)
      print('\n'.join(map(str, paths)))


def _use(mode, workdir):
  """Puts the trained model to use; returns what to say."""
  import air_jax
  from air_jax.inference import parse_files

  model = air_jax.load(workdir, _MEMBER.value)
  if mode == 'parse':
    return parse_files.run(model, _IMAGES.value, _OUT.value or f'{workdir}/parsed', _ANNOTATE.value)
  path = pathlib.Path(_OUT.value or f'{workdir}/parser.jax').expanduser()
  exported = model.export()
  try:
    with path.open('xb') as file:
      file.write(exported)
  except OSError as error:
    raise UserError(f'cannot write {path}: {error.strerror}; --out=FILE names another') from error
  return f'{path} parses [b, {model.config.data.canvas_size}, ...] uint8 images; see the README'


def _show(workdir):
  """Serves the page to draw on, of the run there is, or else of a small model of its own."""
  from air_jax.cli import demo_model
  from air_jax.inference import predictor
  from air_jax.inference.demo import server
  from air_jax.storage import run_dir

  with server.listen(_HOST.value, _PORT.value) as listening:
    if _WORKDIR.value or run_dir.exists(workdir):
      model = predictor.load(workdir, _MEMBER.value)
    else:
      model = demo_model.load_or_train(_CONFIG.value)
    server.serve(model, listening)


def _processes():
  """Joins the other processes, where there are some."""
  from air_jax.runtime import distributed

  numbers = _PROCESSES.value, _PROCESS.value
  if _COORDINATOR.value is None:
    if numbers != (None, None):
      raise UserError('--processes and --process go with --coordinator=HOST:PORT')
    return distributed.joined() if _DISTRIBUTED.value else contextlib.nullcontext()
  if None in numbers or not numbers[1] < numbers[0]:
    raise UserError(
      f'--coordinator={_COORDINATOR.value} goes with --processes=N and --process=I, I in 0..N - 1; '
      f'given were {numbers[0]} and {numbers[1]}'
    )
  return distributed.joined(_COORDINATOR.value, *numbers)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse)
