"""From a place on the x axis to a batch, and back."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from vlamon.charts.track import origin, position

if TYPE_CHECKING:
    from vlamon.charts.ticks import Axis
    from vlamon.store import Attempt, RunStore

SEARCHED = 1 << 18
"""Rows of a column that are searched for the most telling batch; a wider one gives its first."""


def row_at(store: RunStore, axis: Axis, x: float, number: int | None = None) -> int | None:
    """Return the newest row at or before a position: of attempt `number` where it begins before it,
    else of the newest attempt that reaches it, else of the newest that begins before it."""
    if not store.rows or not math.isfinite(x):
        return None
    x += origin(store, axis)
    begun = [one for one in reversed(store.attempts) if _position(store, axis, one, 0) <= x]
    if not begun:
        return 0
    asked = [one for one in begun if one.number == number]
    reaching = [one for one in begun if x <= _position(store, axis, one, -1)]
    chosen = next(iter((*asked, *reaching, *begun)))
    return max(chosen.first_row, _search(store, axis, chosen, x, bisect_right) - 1)


def _rows(attempt: Attempt) -> range:
    return range(attempt.first_row, attempt.end_row)


def _position(store: RunStore, axis: Axis, attempt: Attempt, index: int) -> float:
    """Return where a row of an attempt stands on the store's axis; NaN for an attempt without."""
    rows = _rows(attempt)
    return position(store, axis, rows[index]) if rows else math.nan


def _search(
    store: RunStore, axis: Axis, attempt: Attempt, x: float, bisect: Callable[..., int]
) -> int:
    """Return the row of an attempt that a position on the store's axis falls at or behind."""
    rows = _rows(attempt)
    return attempt.first_row + bisect(rows, x, key=lambda row: position(store, axis, row))


def x_of_row(store: RunStore, axis: Axis, row: int) -> float:
    """Return where a row stands on the chart's axis."""
    return position(store, axis, row) - origin(store, axis)


def telling_row(store: RunStore, axis: Axis, metric: str, start: float, end: float) -> int | None:
    """Return the batch of a column that a person points at: the non-finite or the highest one; of
    those that were rolled back only where there are no others."""
    shift = origin(store, axis)
    kept: list[int] = []
    abandoned: list[int] = []
    cut: float = math.inf
    for attempt in reversed(store.attempts):
        first = _search(store, axis, attempt, start + shift, bisect_left)
        stop = _search(store, axis, attempt, end + shift, bisect_left)
        taken_back = _search(store, "step", attempt, cut, bisect_left)
        kept += _telling(store, metric, first, min(stop, taken_back))
        abandoned += _telling(store, metric, max(first, taken_back), stop)
        cut = min(cut, attempt.first_step)
    found = kept or abandoned[:1]
    if not found:
        return row_at(store, axis, start)
    return max(found, key=lambda row: _loudness(store.value(metric, row)))


def _telling(store: RunStore, metric: str, first: int, stop: int) -> list[int]:
    """Return the batch that stands out in a range of rows; none of no rows."""
    if stop <= first:
        return []
    if stop - first > SEARCHED:
        return [first]
    present = store.present(metric, first, stop)
    if not present.any():
        return [first]
    values = np.where(present, store.values(metric, first, stop), -np.inf)
    bad = np.flatnonzero(present & ~np.isfinite(values))
    return [first + int(bad[0] if len(bad) else np.argmax(values))]


def _loudness(value: float | None) -> float:
    if value is None:
        return -math.inf
    return value if math.isfinite(value) else math.inf
