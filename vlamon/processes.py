"""Whether a process of this machine exists."""

from __future__ import annotations

import os


def exists(pid: int) -> bool:
    """Whether there is a process of this number, another user's included; a zombie counts."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # the second: a number that no process can have
        return False
    except PermissionError:
        return True
    return True
