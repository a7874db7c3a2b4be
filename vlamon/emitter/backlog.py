"""Bounds the memory of rows that a script logs faster than the sidecar packs them.

The training never waits, so what is too much is left out: the oldest rows, counted, announced by an
event, and a gap in the numbers of the rows for every reader. It is the sidecar that looks, for
asking in `Emitter.log` would cost each step.
"""

from __future__ import annotations

import math
import time
from collections import deque

from vlamon.emitter.queue import Item, Owner

MOST = 256 << 20
"""Bytes of rows that may wait: 2,500 rows of 1,000 metrics, 170,000 of a dozen."""
TELL_EVERY = 10.0
"""Seconds between two events about it."""
_ROW, _CELL = 300, 100
"""About how many bytes a row takes, and each of its values."""
_SAMPLE = 61
"""Rows that are weighed for all."""
_WHY = "they came faster than they could be packed"


class Backlog:
    """What waits in the inbox, and what of it was left out."""

    def __init__(self, inbox: deque[Item], owner: Owner) -> None:
        self._inbox = inbox
        self._owner = owner
        self.hole = 0
        """Rows left out since the last block; the next one is numbered behind them."""
        self._unreported = 0
        self._first = self._last = 0
        self._reported_at = -math.inf

    def excess(self) -> int:
        """How many of the oldest rows are too much; then half of what may wait is left.

        Judged by a sample: it is asked at every look.
        """
        waiting = len(self._inbox)
        if waiting < _SAMPLE:
            return 0
        picked = [self._inbox[at] for at in range(0, waiting, waiting // _SAMPLE)]
        sizes = [_ROW + _CELL * len(item[3]) for item in picked if isinstance(item, tuple)]
        each = sum(sizes) / len(picked)
        if waiting * each <= MOST:
            return 0
        return math.ceil((waiting - MOST / 2 / each) * len(sizes) / len(picked))

    def leave_out(self, step: int) -> None:
        """Count a row that is not packed."""
        if not self._unreported:
            self._first = step
        self._last = step
        self.hole += 1
        self._unreported += 1

    def tell(self, at_once: bool = False) -> None:
        """Report what was left out since the last report."""
        now = time.monotonic()
        if self._unreported and (at_once or now - self._reported_at >= TELL_EVERY):
            self._reported_at = now
            rows, self._unreported = self._unreported, 0
            self._owner.swallow(f"rows: {_WHY}", rows)
            self._owner.warn(
                f"{rows} rows are left out, steps {self._first} to {self._last}: {_WHY}"
            )
