"""What the program says about itself: what to run next, and what takes long."""

import shlex
import sys

from absl.flags import FlagValues

from air_jax.cli import command_line


def after_training(flags: FlagValues) -> str:
  """Where the files of a run are, and what to do next."""
  steps = 2 * flags.config.train.steps
  replaced = '--config.train.steps', '--config.train.stop_when'
  given = [arg for arg in sys.argv[1:] if not arg.startswith(replaced)]
  given += ['--config.train.stop_when=0'] if flags.config.train.stop_when else []
  more = shlex.join([*given, f'--config.train.steps={steps}'])
  return '\n'.join(
    [
      f'The run is in {flags.workdir}: figures/ (PNG and GIF), evaluation.json, metrics.jsonl,',
      'checkpoints/ and tensorboard/ (tensorboard --logdir shows it). Next:',
      f'  {command(flags, "--mode=report")}    one HTML page',
      f'  {command(flags, "--mode=demo")}    draw for the model',
      f'  {program()} {more}    train on to step {steps:,}',
    ]
  )


def command(flags: FlagValues, mode: str) -> str:
  """The command that does what `mode` says to this run."""
  return f'{program()} {mode} --workdir={shlex.quote(str(flags.workdir))}'


def program() -> str:
  """How this program was started, for commands."""
  name = command_line.program()
  return f'python {shlex.quote(sys.argv[0])}' if name.endswith('.py') else name


def say(text: str) -> None:
  """One line to stderr about work that is silent for long."""
  print(f'{command_line.program()}: {text}', file=sys.stderr, flush=True)
