"""A run, or several beside each other, as one page to read."""
