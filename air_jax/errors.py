"""What main.py reports in one line, without a traceback."""


class UserError(Exception):
  """Bad input. The message says what was given, where, and what is allowed."""

  exit_code = 2


class DivergenceError(UserError):
  """Training left the realm of finite numbers. The message names the step and the term."""

  exit_code = 3


class Interrupted(UserError):
  """Training was asked to stop by a signal, and has kept a checkpoint."""

  def __init__(self, signal_number, step):
    super().__init__(f'interrupted at step {step}; the same command goes on from there')
    self.exit_code = 128 + signal_number
