"""Waiting for something that moves: as long as it moves, and a while longer."""

from __future__ import annotations

import math
import time


class ProgressTimeout:
    """Ends when nothing has moved for `seconds`, or where there is a limit, after that."""

    def __init__(self, seconds: float, limit: float = math.inf) -> None:
        self.seconds = seconds
        self._last: object = None
        self._moved_at = time.monotonic()
        self._end = self._moved_at + limit

    def left(self, moved: object) -> bool:
        """Whether to wait on; `moved` is any value that is another one after each movement."""
        now = time.monotonic()
        if moved != self._last:
            self._last = moved
            self._moved_at = now
        return now - self._moved_at < self.seconds and now < self._end
