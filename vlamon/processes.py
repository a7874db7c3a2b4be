"""Tells whether a process of this machine exists, and whether it is still the same one."""

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


def birth(pid: int) -> int:
    """When a process began, in the kernel's ticks since the machine started; 0 where unknown.

    A number that is given to another process does not come with the same birth.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
