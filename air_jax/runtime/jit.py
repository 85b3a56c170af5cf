"""Compiling with less effort, where programs then run as fast."""

import functools
from collections.abc import Callable
from typing import Any

import jax

# Of XLA's CPU compiler: half the time and two thirds of the memory by its own options, which gain
# nothing with our matrix products.
ON_CPU = {'xla_backend_optimization_level': 1, 'xla_cpu_use_fusion_emitters': False}


def quick(function: Callable | None = None, **settings: Any) -> Any:
  """`jax.jit` for a program that takes long to compile; on a CPU it is compiled with less effort.

  Args:
    function: as `jax.jit` takes it; None to be used as a decorator with settings.
    **settings: of `jax.jit`.

  Returns:
    what `jax.jit` does. No other compiled function may call it, since JAX wants such options
    outermost.
  """
  return functools.partial(quick, **settings) if function is None else _Quick(function, settings)


class _Quick:
  """A function compiled when it is first used, for to ask JAX for its backend starts that."""

  def __init__(self, function: Callable, settings: dict[str, Any]):
    self._function, self._settings = function, settings
    self._jitted: dict[bool, Any] = {}  # by whether with our options
    functools.update_wrapper(self, function)

  @property
  def _compiled(self) -> Any:
    config: Any = jax.config  # mypy does not know its methods
    # Where a user asks JAX for hardly any optimisations, our level would be more of them.
    own = jax.default_backend() == 'cpu' and not config.read('jax_disable_most_optimizations')
    if own not in self._jitted:
      options = ON_CPU if own else None
      self._jitted[own] = jax.jit(self._function, compiler_options=options, **self._settings)
    return self._jitted[own]

  def __call__(self, *args: Any, **kwargs: Any) -> Any:
    return self._compiled(*args, **kwargs)

  def __getattr__(self, name: str) -> Any:
    return getattr(self._compiled, name)
