"""With which code a script ended, so that `sys.exit(1)` on a NaN is told as what it is."""

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
    """Asked at the interpreter's end: the exception or the exit code, empty where all is well."""
    failed = getattr(sys, "last_type", None)
    return f"stopped by {failed.__name__}" if failed is not None else of_code(_PASSED[0])


def of_code(status: object) -> str:
    """What `sys.exit(status)` ends a script with."""
    if status in (None, 0):
        return ""
    # sys.exit prints anything that is no number and ends with 1.
    number = status if isinstance(status, int) else 1
    return f"the script ended itself with exit code {number}"
