"""The code with which a script ended, so that `sys.exit(1)` on a NaN is reported as a failure."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn


def remember_exit_code() -> Callable[[], str]:
    """Listen to `sys.exit`; returns a function that says, at the end, why the script ended."""
    original = sys.exit
    code: list[object] = [None]

    def exit_with(status: object = None, /) -> NoReturn:
        code[0] = status
        original(status)  # type: ignore[arg-type]

    def reason() -> str:
        failed = getattr(sys, "last_type", None)
        if failed is not None:
            return f"stopped by {failed.__name__}"
        if code[0] in (None, 0):
            return ""
        # sys.exit prints anything that is no number and ends with 1.
        number = code[0] if isinstance(code[0], int) else 1
        return f"the script ended itself with exit code {number}"

    sys.exit = exit_with
    return reason
