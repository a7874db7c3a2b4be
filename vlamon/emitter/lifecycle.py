"""The emitters that live in this process: closed when it ends, let go of where it forks."""

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
        """It lives in a forked child now, where nothing is its own."""

    def close_at_exit(self, why: str) -> None:
        """The interpreter ends, by the exception or the exit code that `why` tells if any."""


_LIVING: weakref.WeakSet[Closeable] = weakref.WeakSet()


def began(emitter: Closeable) -> None:
    """Close it when the process ends, abandon it in a forked child."""
    _LIVING.add(emitter)
    remember()
    atexit.register(_close, weakref.ref(emitter))


def ended(emitter: Closeable) -> None:
    """It has been closed."""
    _LIVING.discard(emitter)


def _abandon_all() -> None:
    for emitter in list(_LIVING):
        with contextlib.suppress(Exception):
            emitter.abandon()
    _LIVING.clear()


os.register_at_fork(after_in_child=_abandon_all)


def _close(reference: weakref.ref[Closeable]) -> None:
    emitter = reference()
    if emitter is not None:
        emitter.close_at_exit(why_it_ended())
