"""Closes the emitters of a process when it ends, and abandons them in a forked child."""

from __future__ import annotations

import atexit
import contextlib
import os
import weakref
from typing import Protocol

from vlamon.emitter.exit_code import remember, why_it_ended


class Closeable(Protocol):
    """The calls that an emitter gets when its process ends or forks."""

    def abandon(self) -> None:
        """Let go of everything: this is the copy in a forked child."""

    def close_at_exit(self, why: str) -> None:
        """Close: the interpreter ends, by the exception or the exit code in `why` if any."""


_OPEN: weakref.WeakSet[Closeable] = weakref.WeakSet()


def began(emitter: Closeable) -> None:
    """Close it when the process ends, abandon it in a forked child."""
    _OPEN.add(emitter)
    remember()
    atexit.register(_close, weakref.ref(emitter))


def ended(emitter: Closeable) -> None:
    """It has been closed."""
    _OPEN.discard(emitter)


def _abandon_all() -> None:
    for emitter in list(_OPEN):
        with contextlib.suppress(Exception):  # the others must be let go of, too
            emitter.abandon()
    _OPEN.clear()


os.register_at_fork(after_in_child=_abandon_all)


def _close(reference: weakref.ref[Closeable]) -> None:
    emitter = reference()
    if emitter is not None:
        emitter.close_at_exit(why_it_ended())
