"""What a chart knows of a series: a bin a dot column, filled by range queries or row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

FINITE: Final = 1
NAN: Final = 2
POS_INF: Final = 4
NEG_INF: Final = 8
BREAK: Final = 16
"""An empty bin over which no line is drawn: what lies on its two sides does not belong together."""


class Envelope(Protocol):
    """What a range query of the store gives; see docs/architecture.md."""

    @property
    def low(self) -> NDArray[np.float32]: ...
    @property
    def high(self) -> NDArray[np.float32]: ...
    @property
    def last(self) -> NDArray[np.float32]: ...
    @property
    def count(self) -> NDArray[np.int64]: ...
    @property
    def flags(self) -> NDArray[np.uint8]: ...


@dataclass(frozen=True, slots=True)
class Bins:
    """One number of each kind a dot column; an envelope that is filled piece by piece."""

    low: NDArray[np.float32]
    """Least finite value, NaN where the bin has none."""
    high: NDArray[np.float32]
    """Greatest finite value."""
    last: NDArray[np.float32]
    """Last finite value."""
    count: NDArray[np.int64]
    """Rows in the bin."""
    flags: NDArray[np.uint8]
    """FINITE, NAN, POS_INF and NEG_INF."""

    @classmethod
    def empty(cls, columns: int) -> Bins:
        """Give bins that hold nothing yet."""
        low, high, last = (np.full(columns, np.nan, dtype=np.float32) for _ in range(3))
        return cls(
            low, high, last, np.zeros(columns, dtype=np.int64), np.zeros(columns, dtype=np.uint8)
        )

    def part(self, first: int) -> Bins:
        """Give the bins from `first` on, sharing memory."""
        return Bins(
            self.low[first:],
            self.high[first:],
            self.last[first:],
            self.count[first:],
            self.flags[first:],
        )

    def break_before(self, column: int) -> None:
        """Let no line lead to a column from the values before it."""
        if column > 0 and not self.flags[column - 1]:
            self.flags[column - 1] = BREAK

    def add(self, column: int, value: float) -> bool:
        """Add one row's value to a bin; tells whether its range or its flags changed.

        The last value, which changes always, is drawn where a line goes through it, or beside the
        sign of a NaN in the same bin.
        """
        self.count[column] += 1
        flags = self.flags[column]
        if value - value == 0:  # finite; math.isfinite costs more
            changed = bool(flags != FINITE)
            if not flags & FINITE:
                self.low[column] = self.high[column] = value
                self.flags[column] |= FINITE
            elif value < self.low[column]:
                self.low[column], changed = value, True
            elif value > self.high[column]:
                self.high[column], changed = value, True
            self.last[column] = value
            return changed
        kind = NAN if value != value else POS_INF if value > 0 else NEG_INF
        self.flags[column] |= kind
        return bool(flags != self.flags[column])

    def clear(self, first: int, end: int) -> None:
        """Empty the bins first..end-1."""
        for values in (self.low, self.high, self.last):
            values[first:end] = np.nan
        self.count[first:end] = 0
        self.flags[first:end] = 0

    def merge(self, first: int, part: Envelope) -> None:
        """Add an envelope's bins from bin `first` on; what comes later is the later value."""
        at = slice(first, first + len(part.low))
        np.fmin(self.low[at], part.low, out=self.low[at])
        np.fmax(self.high[at], part.high, out=self.high[at])
        np.copyto(self.last[at], part.last, where=~np.isnan(part.last))
        self.count[at] += part.count
        self.flags[at] |= part.flags


def smoothed(last: NDArray[np.float32], half_life: float) -> NDArray[np.float32]:
    """Give the exponential moving average of a series with gaps, `half_life` in bins.

    Each bin weighs in with its last value: a plain sample of the series, where the middle between
    least and greatest value would be drawn up by every spike.
    """
    keep = 0.5 ** (1.0 / half_life)
    out = np.full(len(last), np.nan, dtype=np.float32)
    total = weight = 0.0
    for n, value in enumerate(last.tolist()):
        if value == value:
            total, weight = total * keep + value * (1 - keep), weight * keep + (1 - keep)
            out[n] = total / weight
    return out


def line(values: NDArray[np.float32]) -> Bins:
    """Give bins that draw a line through one value a column."""
    flags = np.where(np.isnan(values), 0, FINITE).astype(np.uint8)
    return Bins(values, values, values, flags.astype(np.int64), flags)
