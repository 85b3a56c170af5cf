"""Training for long in a test: its steps are compiled as users compile them, all else as in tests.

python -c 'from optimised import main; main()' ...     main.py, so compiled
"""

import jax

from air_jax.cli import main as program
from air_jax.training import population

_advance = population.advance


def advance(*args):
  """As `population.advance`, which takes a tenth of the time so."""
  jax.config.update('jax_disable_most_optimizations', False)
  try:
    return _advance(*args)
  finally:
    jax.config.update('jax_disable_most_optimizations', True)


def main():
  population.advance = advance
  program.main()
