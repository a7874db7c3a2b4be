"""Times of day in words: those of a run may be anything, and no clock shows the year 10^300."""

from __future__ import annotations

import time


def local_time(seconds: float | None, form: str = "%H:%M:%S") -> str:
    """A local time as `strftime` writes it; empty where no clock shows it."""
    if not seconds:
        return ""
    try:
        return time.strftime(form, time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return ""
