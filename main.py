"""In a clone, `python main.py` is the command `air-jax`; --help lists what it does."""

from air_jax.cli.main import main

if __name__ == '__main__':
  main()
