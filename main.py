"""Attend, Infer, Repeat: trains it, evaluates it, draws what it sees.

    python main.py                                    trains on the embedded digits
    python main.py --config=configs/multi_mnist.py --config.data.mnist_dir=FOLDER --workdir=FOLDER
    python main.py --mode=evaluate --workdir=FOLDER   held-out figures, as a table and as JSON
        [--particles=100]                             with a bound of so many samples
    python main.py --mode=figures --workdir=FOLDER    pictures

Every key of the configuration can be set, as in --config.train.steps=5000.
"""

import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from air_jax import command_line
from air_jax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file('config', None, 'What to train; a file in configs/.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run; default runs/<config name>.')
_MODE = flags.DEFINE_enum('mode', 'train', ['train', 'evaluate', 'figures'], 'What to do.')

_PARTICLES = flags.DEFINE_integer(
  'particles', 0, 'With --mode=evaluate: samples of a tighter bound; 0 has none.', lower_bound=0
)


@command_line.one_line_errors
def main(argv):
  """Does what --mode says, to the run in --workdir."""
  logging.set_verbosity(logging.WARNING)  # orbax tells every rename
  if argv[1:]:
    raise UserError(f'unexpected argument {argv[1]!r}; flags look like --workdir=FOLDER')
  if _PARTICLES.value and _MODE.value != 'evaluate':
    raise UserError(f'--particles goes with --mode=evaluate, not with --mode={_MODE.value}')
  # These take seconds to import; mistyped flags are reported without them.
  from air_jax import config as config_lib
  from air_jax import evaluate, figures, runs, train
  from air_jax.data import loading

  config_name = pathlib.Path(flags.FLAGS['config'].config_filename).stem
  workdir = _WORKDIR.value or f'runs/{config_name}'
  if _MODE.value == 'train':
    print(evaluate.table(train.train(_CONFIG.value, workdir)))
    return
  chosen = command_line.touches_config(sys.argv)
  if _MODE.value == 'figures' and chosen and not runs.exists(workdir):
    # Nothing is trained there: what can be shown is the data.
    scenes = loading.load(config_lib.parse(_CONFIG.value).data, 'test')
    print('\n'.join(map(str, figures.draw_scenes(scenes, pathlib.Path(workdir)))))
    return
  if chosen:
    raise UserError(
      f'--mode={_MODE.value} takes the configuration kept in --workdir; drop --config'
    )
  learning, state, folder = runs.restore(workdir)
  scenes = loading.load(learning.config.data, 'test')
  evaluation, summary = evaluate.held_out(learning, state, scenes, _PARTICLES.value)
  if _MODE.value == 'evaluate':
    evaluate.write(summary, folder)
    print(evaluate.table(summary))
  else:
    print('\n'.join(map(str, figures.draw(learning, state, scenes, evaluation, folder))))


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse)
