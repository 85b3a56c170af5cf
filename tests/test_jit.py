"""Compiling with less effort: by options of ours, unless JAX is asked for still less."""

import jax
import pytest

from air_jax.runtime import jit


@pytest.fixture
def given(monkeypatch):
  """The compiler options of each function that is compiled."""
  options, compiled = [], jax.jit

  def jitted(function, compiler_options, **settings):
    options.append(compiler_options)
    return compiled(function, compiler_options=compiler_options, **settings)

  monkeypatch.setattr(jax, 'jit', jitted)
  return options


def test_a_function_is_compiled_as_jax_is_asked_to_at_the_time(given):
  twice = jit.quick(lambda x, how: how(x), static_argnames='how')
  assert given == []  # to ask for the backend would start it
  before = jax.config.read('jax_disable_most_optimizations')
  try:
    for unoptimised in (True, False, True):
      jax.config.update('jax_disable_most_optimizations', unoptimised)
      assert twice(2, how=lambda x: x + x) == 4
  finally:
    jax.config.update('jax_disable_most_optimizations', before)
  assert given == [None, jit.ON_CPU if jax.default_backend() == 'cpu' else None]


def test_a_compiled_function_has_the_methods_of_jax():
  twice = jit.quick(lambda x: x + x)
  assert twice.lower(1).compile()(1) == 2
