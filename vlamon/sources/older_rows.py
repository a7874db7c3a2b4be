"""The rows from before those that a monitor was shown first, asked for piece by piece.

On a thin line a long history takes minutes, and the first question is how the run is doing now. So
the newest rows come first; then what was before them, in windows that double, each next to what is
there already: charts grow to the left, and the whole costs a few requests. No I/O in here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from vlamon.protocol import block as blocks
from vlamon.protocol.block import Block
from vlamon.protocol.messages import OlderRows
from vlamon.records import Backfill, Gap

NEWEST = 2048
"""Rows that come first: a second's worth on a line of 1 Mbit/s."""
GROWTH = 2
PIECES = (2048, 65_536)
"""Rows that are asked for at a time, at least and at most: what is under way holds up live rows."""
SOON, LATE = 0.3, 1.5
"""Seconds for a piece below which the next one is larger, and above which it is smaller."""


@dataclass(slots=True)
class Backlog:
    """Rows of a run that have not come yet, from before the first that has."""

    since: int
    """First of them."""
    end: int
    """One past the last: the first row that is shown."""
    size: int
    """Rows of the next window."""
    shift: int = 0
    """Added to the attempt numbers, as to those of the newest rows."""
    _first: int | None = None
    """First row of the window that is on its way."""
    _at: int = 0
    """Next row of it."""
    _asked: int = 0
    """One past the last row that was asked for; the last block may bring more."""
    _piece: int = PIECES[0]
    _since: float = 0.0
    """When it was asked for."""
    _weights: dict[str, float] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Rows that have not come."""
        if self._first is None:
            return self.end - self.since
        return self._first - self.since + self.end - self._at

    def request(self, now: float) -> OlderRows | None:
        """What to ask for at `now` seconds, on a new connection too. None once all is there."""
        if self._first is None:
            if self.since >= self.end:
                return None
            self._first = self._at = max(self.since, self.end - self.size)
            self.size *= GROWTH
        self._asked, self._since = min(self.end, self._at + self._piece), now
        return OlderRows(self._at, self._asked)

    def due(self, now: float) -> bool:
        """Whether all that was asked for has come; how fast it came says how much to ask for."""
        if self._first is not None and self._at < self._asked:
            return False
        took = now - self._since
        factor = GROWTH if took < SOON else 1 / GROWTH if took > LATE else 1
        self._piece = max(PIECES[0], min(PIECES[1], int(self._piece * factor)))
        return True

    def expects(self, seq: int) -> bool:
        """Whether a row belongs to the window that is on its way."""
        return self._first is not None and seq < self.end

    def take(self, block: Block) -> Iterator[Backfill | Gap]:
        """Rows of the window."""
        if block.end <= self._at:
            return
        if block.seq > self._at:
            yield Gap(block.seq - self._at, None, None, "rows are missing in the stream")
        first = max(block.seq, self._at)
        end = min(block.end, self.end)
        if (first, end) != (block.seq, block.end):
            block = blocks.cut(block, first - block.seq, end - block.seq)
        self._at = end
        weights = dict(block.weights)
        if weights == self._weights:
            weights = {}
        elif weights:
            self._weights = weights
        moved = replace(block, attempt=block.attempt + self.shift, weights=weights)
        yield Backfill((blocks.record(moved),), self._closed(), before=True)

    def skip(self, gap: Gap) -> Iterator[Backfill | Gap]:
        """Rows of the window that are lost."""
        self._at = min(self.end, self._at + gap.rows)
        yield gap
        if self._closed():
            yield Backfill((), True, before=True)

    def _closed(self) -> bool:
        """Whether the window is complete; then the next one lies before it."""
        if self._first is None or self._at < self.end:
            return False
        self.end, self._first, self._weights = self._first, None, {}
        return True
