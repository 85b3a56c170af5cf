"""Checks a run: which of its files are sound, and what was done about the others."""

import contextlib
import os
import pathlib

from air_jax.cli.evaluate import evaluate_run
from air_jax.config import schema
from air_jax.errors import UserError
from air_jax.inference import restore
from air_jax.storage import run_check, run_dir, run_lock
from air_jax.storage.run_check import DAMAGED, MENDED, SOUND, Finding


def check_run(workdir: str | os.PathLike) -> list[Finding]:
  """Checks every file of a run, and mends what can be; an evaluation is made anew.

  Raises:
    UserError: there is no run, or a process trains in it.
  """
  config = schema.parse(run_dir.load_config(workdir))
  folder = pathlib.Path(os.path.expanduser(workdir))
  with contextlib.ExitStack() as stack:
    with contextlib.suppress(OSError):  # a run that may only be read is only looked at
      stack.enter_context(run_lock.acquire(folder))
    found = [Finding('config.json', SOUND), *run_check.check(folder, config.train.population)]
    if any(each.name.startswith('checkpoints/') for each in found):
      try:
        restore.restore(folder)
      except UserError as error:
        return [*found, Finding('checkpoints', DAMAGED, str(error))]
    if any(run_dir.EVALUATION in each.name and each.state == MENDED for each in found):
      evaluate_run(folder)
      found.append(Finding(run_dir.EVALUATION, SOUND, 'evaluated anew'))
  return found


def lines(found: list[Finding]) -> list[str]:
  """A line for each finding."""
  width = max(len(each.name) for each in found)
  return [f'{each.state:8} {each.name:{width}}  {each.text}'.rstrip() for each in found]
