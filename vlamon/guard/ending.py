"""Notices that this rank is asked to end the training: by the script, or by a signal.

A scheduler's signal reaches one process, and the others would wait for it in their next collective.
So the answer travels in the ballot of every step, and all ranks end behind the same one.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What schedulers send before they kill; Slurm's `--signal` sends the second."""


class Ending:
    """Asks the script's function, and in the guard's own loop listens to signals."""

    def __init__(self, should_stop: Callable[[], bool] | None = None) -> None:
        self._should_stop = should_stop
        self.signalled: str = ""
        """Name of the signal that this rank received."""

    def requested(self) -> bool:
        """Whether to end; a function that fails is reported once and asked no more."""
        if self.signalled:
            return True
        if self._should_stop is None:
            return False
        try:
            return bool(self._should_stop())
        except Exception:
            logging.getLogger("vlamon.guard").exception("should_stop failed and is asked no more")
            self._should_stop = None
            return False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals that would kill the process as a request to end; a script's own handlers
        stay."""
        taken = [number for number in SIGNALS if self._may_take(number)]
        for number in taken:
            signal.signal(number, self._receive)
        try:
            yield
        finally:
            if threading.current_thread() is threading.main_thread():
                for number in taken:
                    signal.signal(number, signal.SIG_DFL)

    @staticmethod
    def _may_take(number: int) -> bool:
        main = threading.current_thread() is threading.main_thread()
        return main and signal.getsignal(number) is signal.SIG_DFL

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.signalled = signal.Signals(number).name
