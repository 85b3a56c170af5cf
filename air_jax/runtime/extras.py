"""Optional dependencies: a missing package is named together with the extra that installs it."""

import contextlib
from collections.abc import Iterator

from air_jax.errors import UserError


@contextlib.contextmanager
def needed(extra: str, purpose: str) -> Iterator[None]:
  """Guards imports of packages that only an extra of air_jax installs.

  Args:
    extra: its name in pyproject.toml.
    purpose: what needs the packages; it begins the message.

  Raises:
    UserError: a package is missing.
  """
  try:
    yield
  except ModuleNotFoundError as error:
    raise UserError(
      f"{purpose} needs {error.name}, which is not installed: pip install 'air_jax[{extra}]'"
    ) from error
