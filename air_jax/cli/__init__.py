"""The command line: flags, modes, and what they print."""
