"""With which code a script ended, so that `sys.exit(1)` on a NaN is told as what it is."""

from __future__ import annotations

import atexit
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from vlamon.taps.collector import Collector


def remember_exit_code(collector: Collector) -> None:
    """Close the collector's emitter at the script's end, with its exit code where it has one."""
    original = sys.exit
    code: list[object] = [None]

    def exit_with(status: object = None, /) -> NoReturn:
        code[0] = status
        original(status)  # type: ignore[arg-type]

    def close() -> None:
        failed = getattr(sys, "last_type", None)
        if failed is not None:
            collector.end(f"stopped by {failed.__name__}")
        elif code[0] not in (None, 0):
            collector.end(f"the script ended itself with exit code {_number(code[0])}")
        else:
            collector.end("")

    sys.exit = exit_with
    atexit.register(close)


def _number(status: object) -> int:
    """What the shell sees: sys.exit prints anything but a number and ends with 1."""
    return status if isinstance(status, int) else 1
