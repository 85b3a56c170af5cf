"""The training step, populations of runs, and the loop."""
