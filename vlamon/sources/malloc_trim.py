"""Memory that decoding a long history took and freed goes back to the system."""

from __future__ import annotations

LONG = 100_000
"""Rows from which on a load is worth it: a tenth of the resident memory after a million."""


def give_back() -> None:
    """Ask glibc to return free pages; another C library keeps them."""
    import ctypes  # milliseconds that a start without a long history does without

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
