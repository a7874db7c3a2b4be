"""Detect, decide, roll back, explain: around any PyTorch training loop. See docs/guard.md."""

from vlamon.guard.autopsy import ProbeResult
from vlamon.guard.checkpoint.writer import Durable, DurableError
from vlamon.guard.forensics import Rebuild
from vlamon.guard.guard import Guard
from vlamon.guard.policy import Decision, DefaultPolicy, Policy, Situation
from vlamon.guard.settings import GuardSettings, settings_from

__all__ = [
    "Decision",
    "DefaultPolicy",
    "Durable",
    "DurableError",
    "Guard",
    "GuardSettings",
    "Policy",
    "ProbeResult",
    "Rebuild",
    "Situation",
    "settings_from",
]
