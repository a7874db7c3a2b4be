"""From a place on the x axis to a batch, and back."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

from vlamon.tui.track import origin, position

if TYPE_CHECKING:
    from vlamon.store import RunStore
    from vlamon.tui.ticks import Axis

SEARCHED = 1 << 18
"""Rows of a column that are searched for the most telling batch; a wider one gives its first."""


def row_at(store: RunStore, axis: Axis, x: float) -> int | None:
    """Give the newest row at or before a position: of the newest attempt that reaches it."""
    if not store.rows or not math.isfinite(x):
        return None
    x += origin(store, axis)
    for attempt in reversed(store.attempts):
        rows = range(attempt.first_row, attempt.end_row)
        if not rows or not position(store, axis, rows[0]) <= x:
            continue
        at = bisect_right(rows, x, key=lambda row: position(store, axis, row))
        return rows[max(0, at - 1)]
    return 0


def x_of_row(store: RunStore, axis: Axis, row: int) -> float:
    """Give where a row stands on the chart's axis."""
    return position(store, axis, row) - origin(store, axis)


def telling_row(store: RunStore, axis: Axis, metric: str, start: float, end: float) -> int | None:
    """Give the batch of a column that a person points at: the non-finite or the highest one."""
    first, last = row_at(store, axis, start), row_at(store, axis, math.nextafter(end, start))
    if first is None or last is None:
        return None
    if x_of_row(store, axis, first) < start and first < last:
        first += 1
    if last <= first or last - first > SEARCHED:
        return first
    present = store.present(metric, first, last + 1)
    if not present.any():
        return first
    values = np.where(present, store.values(metric, first, last + 1), -np.inf)
    bad = np.flatnonzero(present & ~np.isfinite(values))
    return first + int(bad[0] if len(bad) else np.argmax(values))
