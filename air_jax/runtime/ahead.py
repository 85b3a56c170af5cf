"""Compiling ahead: a program is compiled in a thread while the main one does something else.

JAX keeps a program by the shapes of its arguments, so the call that follows finds it. XLA compiles
without Python's lock, while tracing holds it.
"""

import threading
from collections.abc import Callable


class Ahead:
  """Compiles one program after another, each in a thread."""

  def __init__(self) -> None:
    self._thread: threading.Thread | None = None

  def start(self, compile_program: Callable[[], object]) -> None:
    """Starts to compile, once what was started before is done.

    What goes wrong is not reported: the call that needs the program fails by itself, where that is
    handled. A program that ends waits for the thread, since XLA cannot be stopped.

    Args:
      compile_program: lowers and compiles a jitted function for the arguments to come.
    """
    self.wait()

    def quietly() -> None:
      try:
        compile_program()
      except Exception:
        return

    self._thread = threading.Thread(target=quietly, name='compile')
    self._thread.start()

  def wait(self) -> None:
    """Returns when nothing is being compiled: the program would be compiled twice otherwise."""
    if self._thread is not None:
      self._thread.join()
      self._thread = None
