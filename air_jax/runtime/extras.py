"""Optional dependencies: a missing package is named together with the extra that installs it."""

import contextlib
import importlib.util
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
  except ImportError as error:
    # JAX raises an error of its own where flatbuffers is missing.
    missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__
    if not isinstance(missing, ModuleNotFoundError) or str(missing.name).startswith('air_jax'):
      raise
    raise UserError(
      f"{purpose} needs {missing.name}, which is not installed: pip install 'air_jax[{extra}]'"
    ) from error


def find(package: str) -> None:
  """Raises ModuleNotFoundError where a package cannot be imported; does not import it."""
  if not installed(package):
    raise ModuleNotFoundError(f'No module named {package!r}', name=package)


def installed(package: str) -> bool:
  """Whether a package can be imported."""
  return importlib.util.find_spec(package) is not None
