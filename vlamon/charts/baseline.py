"""A second run under the charts of the first: its curves on the same axis, and how far the means of
the two are apart."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from vlamon.catalogue import entry
from vlamon.charts.bins import Bins
from vlamon.charts.frame import Readout
from vlamon.charts.track import AxisData, Track
from vlamon.charts.trend import NEWEST

if TYPE_CHECKING:
    from vlamon.charts.ticks import Axis
    from vlamon.charts.viewport import Window
    from vlamon.store import RunStore

EVERY: Final = 10
"""Fewest batches of either run after which the means are compared again."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The run under the charts; the caller holds the lock of its feed."""

    store: RunStore
    name: str


class BaselineTracks:
    """The bins of another run's metrics in a window of this one."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self._metrics = metrics
        self._store: RunStore | None = None
        self._tracks: dict[str, Track] = {}
        self._axis = AxisData()

    @property
    def bins(self) -> list[Bins]:
        """What there is to draw: of each metric that the other run has."""
        return [track.live for track in self._tracks.values() if track.live.finite.any()]

    def update(self, baseline: Baseline | None, axis: Axis, shown: Window) -> bool:
        """Bring the bins up to date; says whether any may differ from the last ones."""
        store = None if baseline is None else baseline.store
        changed = store is not self._store
        if changed:
            self._store, self._tracks = store, {}
        if store is None:
            return changed
        parts = self._axis.of(store, axis)[1]
        for metric in self._metrics:
            if metric in store.metrics:
                track = self._tracks.setdefault(metric, Track(metric))
                changed |= track.update(store, axis, shown, parts) is not None
        return changed


@dataclass(frozen=True, slots=True)
class Difference:
    """How far the mean of a run is from another's over the same steps."""

    share: float
    """Of the other's mean: −0.03 is three per cent less."""
    error: float
    """Two standard errors of it; NaN where there are too few batches to tell."""

    @property
    def clear(self) -> bool:
        """Whether it is more than noise."""
        return abs(self.share) > self.error


class ChartDifference:
    """The difference of one chart, worked out again once in a while."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self._metrics = metrics
        self._key: tuple[object, ...] = ()
        self._found: Difference | None = None

    def readout(self, store: RunStore, baseline: Baseline) -> Readout | None:
        """Write `Δ −3.1 %`, green or red by what is good where it is more than noise."""
        rows = store.rows // EVERY, baseline.store.rows // EVERY
        key = (baseline.store, *rows, len(store.attempts), len(baseline.store.attempts))
        if key != self._key:
            self._key = key
            self._found = difference(store, baseline.store, self._metrics)
        return None if self._found is None else _readout(self._found, self._metrics[0])


def difference(store: RunStore, other: RunStore, metrics: Sequence[str]) -> Difference | None:
    """Compare the newest tenth of an attempt with the other run's batches of the same steps; of the
    steps that both have, where the other is not that far yet."""
    shared = [metric for metric in metrics if metric in store.metrics and metric in other.metrics]
    if not shared or not store.rows or not other.rows:
        return None
    ends = (run.attempts[-1].last_step for run in (store, other))
    last = min(ends)
    own = _rows_until(store, last)
    theirs = _rows_until(other, last)
    if own is None or theirs is None:
        return None
    rows = own[1] - own[0]
    first = own[1] - max(1, rows // 10, min(NEWEST, rows // 2))
    step = int(store.steps(first, first + 1)[0])
    begin = bisect_left(
        range(theirs[1]), step, lo=theirs[0], key=lambda row: int(other.steps(row, row + 1)[0])
    )
    one = _means(store, shared, first, own[1])
    two = _means(other, shared, begin, theirs[1])
    if one is None or two is None or not two[0]:
        return None
    error = 2 * math.hypot(one[1], two[1]) / abs(two[0])
    return Difference((one[0] - two[0]) / abs(two[0]), error)


def _rows_until(store: RunStore, last: int) -> tuple[int, int] | None:
    """Return the rows up to a step, of the newest attempt that begins before it."""
    for attempt in reversed(store.attempts):
        if attempt.first_step <= last:
            end = bisect_right(
                range(attempt.end_row),
                last,
                lo=attempt.first_row,
                key=lambda row: int(store.steps(row, row + 1)[0]),
            )
            return attempt.first_row, end
    return None


def _means(
    store: RunStore, metrics: Sequence[str], first: int, end: int
) -> tuple[float, float] | None:
    """Return the mean over some rows and metrics and its standard error, which neighbours that hang
    together widen; None without a finite value."""
    means, errors = [], []
    for metric in metrics:
        values = store.values(metric, first, end).astype(np.float64)
        values = values[np.isfinite(values)]
        if not len(values):
            return None
        means.append(float(values.mean()))
        errors.append(_standard_error(values - means[-1]))
    return sum(means) / len(means), math.sqrt(sum(one * one for one in errors)) / len(errors)


def _standard_error(rest: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    count, power = len(rest), float((rest * rest).sum())
    if count < 8:
        return math.nan
    if not power:
        return 0.0
    memory = min(0.95, max(0.0, float((rest[1:] * rest[:-1]).sum()) / power))
    return math.sqrt(power / (count - 1) / count * (1 + memory) / (1 - memory))


def _readout(found: Difference, metric: str) -> Readout:
    """Write a difference as finely as its size allows."""
    change = 100 * found.share
    if not math.isfinite(change):
        return Readout("Δ –", "muted", spare=1)
    size = abs(change)
    text = "999" if size >= 999.5 else f"{size:.{0 if size >= 10 else 1 if size >= 1 else 2}f}"
    sign = "" if not float(text) else "−" if change < 0 else "+"
    sign = f">{sign}" if size >= 999.5 else sign
    role = "foreground" if found.clear else "muted"
    better = entry(metric).better
    if found.clear and better in ("lower", "higher"):
        role = "ok" if (change < 0) == (better == "lower") else "explode"
    return Readout(f"Δ {sign}{text} %", role, spare=1)
