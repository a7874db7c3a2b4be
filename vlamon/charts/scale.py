"""From values to dot rows: a y range that no single bad batch can squash, linear or log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.braille import DOTS_HIGH
from vlamon.charts.ticks import nice_step

_SUSTAINED = 5
"""Bins over which the running median is taken: what lasts for three of them is always in range."""
ENOUGH = 24
"""Bins from which on anything is called an excursion: of a few points, all are shown."""
_REACH = 1.5
"""Spans above (below) the sustained range from which on a short excursion is clipped and marked."""
_ROOM = 0.55
"""Share of the range that the data must fill for an earlier range to be kept."""
_MOST = 4.0
"""Times the live attempt's range that abandoned ones may stretch it to."""
_SAME = 1e-6
"""Relative difference up to which values are one constant."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The y range of a chart."""

    low: float
    """Value at the bottom dot."""
    high: float
    """Value at the top dot."""
    log: bool = False
    """Whether equal distances are equal ratios; then `low` is above zero."""
    rows: int = 0
    """Rows of cells that it was made for; 0 where its ticks need not fall on rows."""
    tick: float = 0.0
    """Distance of the ticks, a round number that is a whole number of rows; 0 without one."""
    only: float | None = None
    """The one value of a constant, which is all that there is to label."""

    def dots(self, values: NDArray[np.floating], count: int) -> NDArray[np.intp]:
        """Return each value's dot row of `count` from the top; beyond 0..count-1 if out of range.

        What is far out of range stays within a few heights. NaN is row 0.
        """
        low, high = self._place(self.low), self._place(self.high)
        with np.errstate(invalid="ignore", divide="ignore"):
            placed = values.astype(np.float64)
            if self.log:
                placed = np.log10(np.maximum(placed, 0.0))
            share = (high - placed) / (high - low)
            share[share != share] = 0.0
            # `np.clip` takes longer than both.
            share = np.minimum(np.maximum(share, -3.0), 4.0)
            return np.rint(share * (count - 1)).astype(np.intp)

    def row(self, value: float, count: int) -> int | None:
        """Return a value's row of `count` cells from the top, None where it is out of range: the
        row in which a curve that has this value lights a dot, so that labels stand beside it."""
        if not self.low <= value <= self.high:
            return None
        low, high = self._place(self.low), self._place(self.high)
        share = (high - self._place(value)) / (high - low)
        return round(min(1.0, max(0.0, share)) * (count * DOTS_HIGH - 1)) // DOTS_HIGH

    def value_at(self, share: float) -> float:
        """Return the value at a share of the height, 0 at the top and 1 at the bottom."""
        low, high = self._place(self.low), self._place(self.high)
        placed = high - share * (high - low)
        return 10.0**placed if self.log else placed

    def _place(self, value: float) -> float:
        return math.log10(value) if self.log else value


Extremes = tuple[NDArray[np.floating], NDArray[np.floating]]
"""Least and greatest value of each bin of a series, NaN for an empty bin."""


def fit(
    series: Sequence[Extremes],
    *,
    log: bool = False,
    robust: bool = True,
    previous: Scale | None = None,
    keep: tuple[float, ...] = (),
    abandoned: Sequence[Extremes] = (),
    rows: int = 0,
) -> Scale:
    """Choose the y range for some series.

    A robust range leaves out excursions that last for one or two bins and are far away; the chart
    marks them. Abandoned attempts are shown as well, as long as a quarter of the range is left for
    the others. `previous` is kept as long as it still fits, so that a growing run does
    not breathe. `keep` are further values to show when they are near enough to cost little. With
    `rows` the ticks fall on rows at equal distances.
    """
    log = log and any(bool((np.isfinite(high) & (high > 0)).any()) for _, high in series)
    found = _together(series, log, robust)
    beside = _together(abandoned, log, robust)
    if found is None:
        found, beside = beside, None
    if found is None:
        same = previous is not None and previous.log == log and previous.rows == rows
        return previous if same and previous is not None else Scale(0.0, 1.0, rows=rows)
    low, high = found if beside is None else _stretched(found, beside, robust)
    # On a log axis low and high are exponents: their difference is a relative one already.
    if high - low <= (_SAME if log else _SAME * max(abs(low), abs(high))):
        return _around(10.0**high if log else high, log, rows)
    for value in keep:
        if log and value <= 0:
            continue
        placed = math.log10(value) if log else value
        if high < placed <= high + 0.35 * (high - low):
            high = placed
    if previous is not None and _still_fits(previous, low, high, log, rows):
        return previous
    return _on_rows(low, high, rows) if rows > 1 and not log else _rounded(low, high, log, rows)


def _together(series: Sequence[Extremes], log: bool, robust: bool) -> tuple[float, float] | None:
    """Return the range of several series, None where none has anything to show."""
    ranges = [
        found for low, high in series if (found := _range(low, high, log, robust)) is not None
    ]
    if not ranges:
        return None
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _stretched(
    live: tuple[float, float], others: tuple[float, float], robust: bool
) -> tuple[float, float]:
    """Return a range that shows abandoned attempts, too, as far as the live one stays readable."""
    low, high = min(live[0], others[0]), max(live[1], others[1])
    room = (_MOST - 1) * (live[1] - live[0]) or 0.5 * abs(live[1]) or 1.0
    if not robust or (high - live[1]) + (live[0] - low) <= room:
        return low, high
    return max(low, live[0] - room / 2), min(high, live[1] + room / 2)


def _range(
    lows: NDArray[np.floating], highs: NDArray[np.floating], log: bool, robust: bool
) -> tuple[float, float] | None:
    """Return the range of one series, in decades where `log`; None where it has nothing to show."""
    lows, highs = lows[np.isfinite(lows)], highs[np.isfinite(highs)]
    if log:
        highs = highs[highs > 0]
        lows = lows[lows > 0]
        lows = lows if len(lows) else highs
    if not len(lows) or not len(highs):
        return None
    wide_lows, wide_highs = lows.astype(np.float64), highs.astype(np.float64)
    if log:
        wide_lows, wide_highs = np.log10(wide_lows), np.log10(wide_highs)
    if robust:
        return _robust(wide_lows, wide_highs)
    return float(wide_lows.min()), float(wide_highs.max())


def _robust(lows: NDArray[np.float64], highs: NDArray[np.float64]) -> tuple[float, float]:
    """Return the range of what lasts, stretched to the farthest excursion that is not far away."""
    steady_low, steady_high = float(_median(lows).min()), float(_median(highs).max())
    span = steady_high - steady_low
    if span <= 0:
        span = 0.1 * abs(steady_high) or 1.0
    near_high = highs[highs <= steady_high + _REACH * span]
    near_low = lows[lows >= steady_low - _REACH * span]
    high = max(steady_high, float(near_high.max())) if len(near_high) else steady_high
    low = min(steady_low, float(near_low.min())) if len(near_low) else steady_low
    return min(low, high), max(low, high)


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the running median over a few bins; a short series is its own."""
    if len(values) < ENOUGH:
        return values
    windows = np.lib.stride_tricks.sliding_window_view(values, _SUSTAINED)
    found: NDArray[np.float64] = np.partition(windows, _SUSTAINED // 2, axis=1)[:, _SUSTAINED // 2]
    return found


def _still_fits(previous: Scale, low: float, high: float, log: bool, rows: int) -> bool:
    if (previous.log, previous.rows, previous.only) != (log, rows, None):
        return False
    first = math.log10(previous.low) if previous.log else previous.low
    last = math.log10(previous.high) if previous.log else previous.high
    return first <= low and high <= last and (high - low) >= _ROOM * (last - first)


def _around(value: float, log: bool, rows: int) -> Scale:
    """Return a range around a constant, whose value is then all there is to label."""
    if log:
        return Scale(value / 1.25, value * 1.25, True, rows, only=value)
    room = 0.25 * abs(value) or 1.0
    low, high = (max(-_LARGEST, value - room), min(_LARGEST, value + room))
    return Scale(low, high, rows=rows, only=value)


_LARGEST = float(np.finfo(np.float64).max) / 8


def _on_rows(low: float, high: float, rows: int) -> Scale:
    """Return the smallest range around low..high whose ticks are round and whole rows apart.

    A tick every `every` rows makes a row `tick / every` high. Ticks lie on the second dot of their
    row, so that each one has the row to itself in which its value is drawn.
    """
    dots = rows * DOTS_HIGH
    least = (high - low) / (dots - 1) * DOTS_HIGH
    power = 10.0 ** math.floor(math.log10(least))
    choices = sorted(
        (tick * scale * power / every, abs(every - rows / 4), tick * scale * power)
        for scale in (1.0, 10.0, 100.0)
        for tick in (1.0, 2.0, 5.0)
        for every in range(min(2, max(1, rows // 2)), max(1, min(6, rows // 2)) + 1)
    )
    for row, _, tick in choices:
        if row < least:
            continue
        dot = row / DOTS_HIGH
        top = math.ceil((high - dot) / row - 1e-9) * row + dot
        bottom = top - (dots - 1) * dot
        if bottom <= low + 1e-9 * row:
            # Rows to spare lie below, but not below zero: a loss has no business there.
            spare = max(0, math.floor(-bottom / row + 1e-9)) if low >= 0 else 0
            top, bottom = top + spare * row, bottom + spare * row
            return Scale(min(bottom, low), max(top, high), rows=rows, tick=tick)
    return _rounded(low, high, False, rows)


def _rounded(low: float, high: float, log: bool, rows: int) -> Scale:
    """Round the limits outward, to numbers that a person would write on an axis."""
    if log:
        if high - low < 0.02:
            low, high = low - 0.01, high + 0.01
        step = 0.05 if high - low > 0.5 else 0.01
        first, last = math.floor(low / step) * step, math.ceil(high / step) * step
        return Scale(10.0**first, 10.0**last, True, rows)
    step = nice_step((high - low) / 12)
    return Scale(math.floor(low / step) * step, math.ceil(high / step) * step, rows=rows)
