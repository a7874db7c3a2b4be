"""A training under everything that can happen to it at once: `python -m tests.soak`."""
