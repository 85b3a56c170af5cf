"""Errors that the program reports in one line, without a traceback."""


class UserError(Exception):
  """Bad input. The message says what was given, where, and what is allowed."""

  exit_code = 2


class DivergenceError(UserError):
  """Training produced NaN or infinity. The message names the training step and the quantity."""

  exit_code = 3


class Interrupted(UserError):
  """Training was stopped by a signal, after it had written a checkpoint."""

  def __init__(self, signal_number: int, step: int):
    super().__init__(f'interrupted at step {step}; the same command goes on from there')
    self.exit_code = 128 + signal_number
