"""The last points of a loss in order of size, for a median and a spread at every point."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

MAD_TO_SIGMA = 1.4826


class RankedWindow:
    """A sliding window kept in order of size: median at once, MAD by a walk of a place or two."""

    __slots__ = ("order", "ranked", "size", "start")

    def __init__(self, size: int) -> None:
        self.size = size
        self.order: deque[float] = deque()
        self.ranked: list[float] = []
        self.start = 0
        """Where the half that is nearest to the median began last time."""

    def push(self, y: float) -> None:
        """Take one in, and let the oldest go where the window is full."""
        self.order.append(y)
        insort(self.ranked, y)
        if len(self.order) > self.size:
            del self.ranked[bisect_left(self.ranked, self.order.popleft())]

    def median(self) -> float:
        """The middle one."""
        ranked = self.ranked
        half = len(ranked) >> 1
        return ranked[half] if len(ranked) & 1 else 0.5 * (ranked[half - 1] + ranked[half])

    def spread(self, middle: float) -> float:
        """Standard deviation as the MAD tells it, or the upper tail where that is wider.

        Batches of two kinds (policy and world-model rows) are no outliers of one kind, so the tail
        of what was accepted counts; alarms are not in it.
        """
        ranked = self.ranked
        count = len(ranked)
        half, start = count >> 1, self.start
        last = count - half - 1
        # The MAD is half of the shortest stretch around the median that holds half of the points.
        # Its start moves by a place or two a point, so walking from the last one is O(1).
        if start > last:
            start = last
        while start < last and middle - ranked[start] > ranked[start + half] - middle:
            start += 1
        while start > 0 and ranked[start - 1 + half] - middle >= middle - ranked[start - 1]:
            start -= 1
        self.start = start
        mad = max(middle - ranked[start], ranked[start + half] - middle)
        if start > 0:
            mad = min(mad, max(middle - ranked[start - 1], ranked[start - 1 + half] - middle))
        return max(MAD_TO_SIGMA * mad, (ranked[int(0.95 * (count - 1))] - middle) / 1.645)
