"""A limit for a whole exchange: a server that says a byte now and then meets every other one."""

from __future__ import annotations

import contextlib
import socket
import threading

LONGEST = 30.0
"""Seconds from the first byte to the last."""


class Deadline:
    """Cuts the connection that it holds when its time is over; a context manager."""

    def __init__(self) -> None:
        self.seconds = LONGEST
        self.passed = False
        self._lock = threading.Lock()
        self._held: socket.socket | None = None
        self._timer = threading.Timer(self.seconds, self._pass)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._held is not None:
                self._held.close()
                self._held = None

    def hold(self, connection: socket.socket) -> None:
        """Cut this connection, too, whatever is wrapped around it: TLS takes its descriptor."""
        with self._lock:
            if self._held is not None:
                self._held.close()
            self._held = connection.dup()
            if self.passed:
                self._cut()

    def _pass(self) -> None:
        with self._lock:
            self.passed = True
            self._cut()

    def _cut(self) -> None:
        if self._held is not None:
            with contextlib.suppress(OSError):
                self._held.shutdown(socket.SHUT_RDWR)
