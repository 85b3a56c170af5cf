"""The program: `air-jax`, `python -m air_jax`, or `python main.py` in a clone.

    air-jax                                            trains on the embedded digits
    air-jax --config=multi_mnist --workdir=FOLDER      trains a shipped configuration
    air-jax --mode=evaluate --workdir=FOLDER           held-out metrics, as a table and as JSON
    air-jax --help                                     lists modes, flags, configurations and keys

Training by several processes: each is started with a number of its own, or all with --distributed,
which finds the numbers in the environment (Slurm, Open MPI, a TPU pod, GKE):

    air-jax --coordinator=HOST:PORT --processes=2 --process=0 ...
"""

import contextlib
import os
import pathlib
import sys
from typing import Any

from absl import flags, logging
from ml_collections import config_flags

from air_jax._version import __version__
from air_jax.cli import command_line, help_text, library_messages, modes
from air_jax.errors import UserError

_HELP = {'-h', '-help', '--help', '-?', '--helpfull'}


@command_line.one_line_errors
def main() -> None:
  """Does what --mode says, to the run in --workdir."""
  argv = sys.argv
  values = define_flags()
  if _HELP & set(argv[1:]):
    _show(help_text.full(modes.MODES, values))
  elif '--helpshort' in argv[1:]:
    _show(help_text.short(modes.MODES, values))
  elif '--version' in argv[1:]:
    print(f'air_jax {__version__}')
  else:
    unexpected = command_line.parse(argv, values)[1:]
    if unexpected:
      raise UserError(f'unexpected argument {unexpected[0]!r}; flags look like --workdir=FOLDER')
    _check(values)
    flags.FLAGS(argv[:1])  # libraries ask for flags of their own
    logging.use_absl_handler()
    if values.verbose:
      logging.set_verbosity(logging.INFO)
    else:
      logging.set_verbosity(logging.WARNING)  # orbax logs every file
      library_messages.silence()
    if not values.workdir:
      name = pathlib.Path(config_flags.get_config_filename(values['config'])).stem
      values['workdir'].value = f'runs/{name}'
    modes.MODES[values.mode].run(values)


def define_flags() -> flags.FlagValues:
  """The flags, all but --config; none is global."""
  values = flags.FlagValues()
  of: dict[str, Any] = {'flag_values': values}
  flags.DEFINE_enum('mode', 'train', [*modes.MODES], 'What to do.', **of)
  flags.DEFINE_string('workdir', None, 'Folder of the run; runs/NAME of --config if none.', **of)
  flags.DEFINE_integer(
    'particles', 0, 'Also report the IWAE bound with so many samples.', lower_bound=0, **of
  )
  flags.DEFINE_integer('draws', 200, 'Gradients of each objective.', lower_bound=10, **of)
  flags.DEFINE_list('objectives', None, 'Which to measure, separated by commas; all if none.', **of)
  text = 'Member of a population; if none, all to evaluate, otherwise the best.'
  flags.DEFINE_integer('member', None, text, **of)
  text = 'Folder of images, or a pattern such as "photos/*.png".'
  flags.DEFINE_string('images', None, text, **of)
  flags.DEFINE_string('out', None, 'Where to write; in --workdir if none.', **of)
  flags.DEFINE_bool('annotate', True, 'Also draw each image; --noannotate does not.', **of)
  text = 'Folders of other runs to show beside this one, separated by commas.'
  flags.DEFINE_list('compare', [], text, **of)
  text = 'Address to listen at; 0.0.0.0 lets every machine in the network draw.'
  flags.DEFINE_string('host', '127.0.0.1', text, **of)
  flags.DEFINE_integer(
    'port', 8000, 'Port; 0 takes a free one.', lower_bound=0, upper_bound=65535, **of
  )
  text = 'Train as one of several processes that the environment describes.'
  flags.DEFINE_bool('distributed', False, text, **of)
  text = 'Train as one of several processes: HOST:PORT where the first one listens.'
  flags.DEFINE_string('coordinator', None, text, **of)
  text = 'With --coordinator: how many processes there are.'
  flags.DEFINE_integer('processes', None, text, lower_bound=1, **of)
  text = 'With --coordinator: the number of this process, from 0.'
  flags.DEFINE_integer('process', None, text, lower_bound=0, **of)
  flags.DEFINE_bool('verbose', False, 'Also show what libraries log, in any mode.', **of)
  return values


def _check(values: flags.FlagValues) -> None:
  """Refuses flags that do not go with the mode."""
  for flag in values:
    allowed = [name for name, mode in modes.MODES.items() if flag in mode.flags]
    if allowed and values[flag].present and values.mode not in allowed:
      raise UserError(
        f'--{flag} goes with --mode={" or ".join(allowed)}, not with --mode={values.mode}'
      )


def _show(text: str) -> None:
  """Prints a long text, of which a pager or `head` may read a part."""
  with contextlib.suppress(BrokenPipeError):
    print(text, flush=True)
    return
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still buffered
