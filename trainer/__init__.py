"""The reference training process: a small but real VLA training that vlamon watches."""
