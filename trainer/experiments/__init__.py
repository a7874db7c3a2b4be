"""Experiments that the documentation quotes: `python -m trainer.experiments <name>`."""
