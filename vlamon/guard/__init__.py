"""Detect, decide, roll back, explain: around any PyTorch training loop. See docs/guard.md."""

from vlamon.guard.autopsy import Probed
from vlamon.guard.checkpoint.writer import Durable, DurableError
from vlamon.guard.forensics import Rebuild
from vlamon.guard.guard import Guard
from vlamon.guard.policy import GuardSettings, settings_from

__all__ = [
    "Durable",
    "DurableError",
    "Guard",
    "GuardSettings",
    "Probed",
    "Rebuild",
    "settings_from",
]
