"""What a monitor may ask of a training, as both sides know it."""

from __future__ import annotations

NO_CONTROL = "this training takes no orders: its script never calls emitter.commands()"
"""Said by the trainer that refuses, and by a monitor before it asks."""
