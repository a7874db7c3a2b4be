"""Keeps a run in the user's list of runs, on a thread of its own: a home may hang."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from vlamon.protocol import registry
from vlamon.protocol.registry import RunEntry
from vlamon.records import Status

SOON = 5.0
"""Seconds after which the file is written again: a list opened right then has a step, too."""


class Registrar:
    """Writes the run's file now, soon after, once a minute, and at the end."""

    def __init__(self, entry: RunEntry, status: Callable[[], Status | None]) -> None:
        self._entry = entry
        self._status = status
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vlamon-registry", daemon=True)

    def start(self) -> None:
        """Begin to write, where a list is kept."""
        if registry.directory() is not None:
            self._thread.start()

    def stop(self) -> None:
        """Write that the run ended, without waiting for a home that hangs."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(0.5)

    def _run(self) -> None:
        place = registry.directory()
        assert place is not None
        with contextlib.suppress(OSError):  # a home that is full or read-only keeps no list
            registry.write(self._described(), place)
            registry.clear(place)
        pause = SOON
        while not self._stopping.wait(pause):
            pause = registry.REFRESH
            with contextlib.suppress(OSError):
                registry.write(self._described(), place)
        with contextlib.suppress(OSError):
            registry.write(replace(self._described(), ended=time.time()), place)

    def _described(self) -> RunEntry:
        status = self._status()
        now = time.time()
        if status is None:
            return replace(self._entry, updated=now)
        return replace(self._entry, updated=now, state=status.state, step=status.step)
