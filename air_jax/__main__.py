"""`python -m air_jax` is the command `air-jax`."""

from air_jax.cli.main import main

if __name__ == '__main__':
  main()
