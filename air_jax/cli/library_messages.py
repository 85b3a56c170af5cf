"""What libraries print about a failure, before the one line that this program ends with."""

import logging
import sys
import threading
from types import TracebackType

# Orbax and the asyncio tasks that it leaves behind log each array that could not be written.
_SILENCED = '/orbax/', '/asyncio/'


def silence() -> None:
  """Drops what libraries print where a checkpoint cannot be read or written."""
  for handler in logging.getLogger().handlers:
    handler.addFilter(_is_ours)
  sys.excepthook = _shown


def _is_ours(record: logging.LogRecord) -> bool:
  return not any(part in record.pathname.replace('\\', '/') for part in _SILENCED)


def _shown(
  kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
  """Shows an exception that nothing handled, but for those of reading that was given up."""
  if threading.current_thread() is threading.main_thread() or str(error) != 'Event loop is closed':
    sys.__excepthook__(kind, error, traceback)
