"""What a chart knows of a series: one bin per dot column, filled by range queries or row by row."""

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

_WITHOUT_FINITE = bytes(flags & ~FINITE for flags in range(256))


class Envelope(Protocol):
    """What a range query of the store returns; see docs/architecture.md."""

    @property
    def low(self) -> NDArray[np.float32]: ...
    @property
    def high(self) -> NDArray[np.float32]: ...
    @property
    def last(self) -> NDArray[np.float32]: ...
    @property
    def total(self) -> NDArray[np.float64]: ...
    @property
    def finite(self) -> NDArray[np.int64]: ...
    @property
    def flags(self) -> NDArray[np.uint8]: ...


@dataclass(frozen=True, slots=True)
class Bins:
    """One number of each kind per dot column; an envelope that is filled piece by piece."""

    low: NDArray[np.float32]
    """Least finite value, NaN where the bin has none."""
    high: NDArray[np.float32]
    """Greatest finite value."""
    last: NDArray[np.float32]
    """Last finite value."""
    total: NDArray[np.float64]
    """Sum of the finite values."""
    finite: NDArray[np.int64]
    """How many values are finite."""
    flags: NDArray[np.uint8]
    """FINITE, NAN, POS_INF and NEG_INF."""

    @classmethod
    def empty(cls, columns: int) -> Bins:
        """Return bins that hold nothing yet."""
        low, high, last = (np.full(columns, np.nan, dtype=np.float32) for _ in range(3))
        total, finite = np.zeros(columns), np.zeros(columns, dtype=np.int64)
        return cls(low, high, last, total, finite, np.zeros(columns, dtype=np.uint8))

    @classmethod
    def of_values(cls, values: NDArray[np.floating]) -> Bins:
        """Return bins that hold one value each, NaN for an empty bin."""
        cells = values.astype(np.float32)
        some = np.isfinite(cells)
        total = np.where(some, cells, 0.0).astype(np.float64)
        finite = some.astype(np.int64)
        return cls(cells, cells, cells, total, finite, some.astype(np.uint8))

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each bin, between its least and its greatest value; NaN where it has none."""
        mean: NDArray[np.float64] = np.full(len(self.total), np.nan)
        np.divide(self.total, self.finite, out=mean, where=self.finite > 0)
        np.fmax(mean, self.low, out=mean)
        return np.fmin(mean, self.high, out=mean)

    @property
    def held(self) -> NDArray[np.uint8]:
        """Finite values of each bin as far as a chart tells them apart: 0, 1 or 2 for several."""
        return np.minimum(self.finite, 2).astype(np.uint8)

    def odd(self) -> bytes:
        """Return the flags of each bin without FINITE, a byte each."""
        return self.flags.tobytes().translate(_WITHOUT_FINITE)

    def break_before(self, column: int) -> None:
        """Let no line lead to a column from the values before it."""
        if column > 0 and not self.flags[column - 1]:
            self.flags[column - 1] = BREAK

    def add(self, column: int, value: float) -> None:
        """Add one row's value to a bin."""
        if value - value == 0:  # finite; math.isfinite costs more
            if not self.flags[column] & FINITE:
                self.low[column] = self.high[column] = value
                self.flags[column] |= FINITE
            elif value < self.low[column]:
                self.low[column] = value
            elif value > self.high[column]:
                self.high[column] = value
            self.last[column] = value
            self.total[column] += value
            self.finite[column] += 1
            return
        self.flags[column] |= NAN if value != value else POS_INF if value > 0 else NEG_INF

    def clear(self, first: int, end: int) -> None:
        """Empty the bins first..end-1."""
        for values in (self.low, self.high, self.last):
            values[first:end] = np.nan
        for counts in (self.total, self.finite, self.flags):
            counts[first:end] = 0

    def merge(self, first: int, part: Envelope) -> None:
        """Add an envelope's bins from bin `first` on; what comes later is the later value."""
        at = slice(first, first + len(part.low))
        np.fmin(self.low[at], part.low, out=self.low[at])
        np.fmax(self.high[at], part.high, out=self.high[at])
        np.copyto(self.last[at], part.last, where=~np.isnan(part.last))
        self.total[at] += part.total
        self.finite[at] += part.finite
        self.flags[at] |= part.flags
