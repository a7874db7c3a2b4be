"""The code that a script ended with, so that `sys.exit(1)` on a NaN is reported as a failure."""

from __future__ import annotations

import sys
import threading
from typing import NoReturn

_PASSED: list[object] = [None]
"""What the script handed to `sys.exit` last."""


def remember() -> None:
    """Listen to `sys.exit`, which leaves no trace for the interpreter's end; once a process."""
    original = sys.exit
    if getattr(original, "__vlamon__", False):
        return

    def exit_with(status: object = None, /) -> NoReturn:
        if threading.current_thread() is threading.main_thread():  # others end themselves alone
            _PASSED[0] = status
        original(status)  # type: ignore[arg-type]

    exit_with.__vlamon__ = True  # type: ignore[attr-defined]
    sys.exit = exit_with


def why_it_ended() -> str:
    """The exception or the exit code that ended the script, empty where all is well.

    Called when the interpreter ends.
    """
    failed = getattr(sys, "last_type", None)
    return f"stopped by {failed.__name__}" if failed is not None else of_code(_PASSED[0])


def of_code(status: object) -> str:
    """What `sys.exit(status)` ends a script with."""
    if status in (None, 0):
        return ""
    # sys.exit prints anything that is not a number and ends with 1.
    number = status if isinstance(status, int) else 1
    return f"the script ended itself with exit code {number}"
