"""Memory that decoding a long history took and freed goes back to the system."""

from __future__ import annotations

import ctypes

LONG = 100_000
"""Rows from which on a load is worth it: a tenth of the resident memory after a million."""


def give_back() -> None:
    """Ask glibc to return free pages; another C library keeps them."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
