"""From values to dot rows: a y range that no single bad batch can squash, linear or log."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.braille import DOTS_HIGH
from vlamon.charts.ticks import nice_step

_SUSTAINED = 5
"""Bins over which the running median is taken: what lasts for three of them is always in range."""
_ENOUGH = 24
"""Bins from which on anything is called an excursion: of a few points, all are shown."""
_REACH = 1.5
"""Spans above (below) the sustained range from which on a short excursion is clipped and marked."""
_ROOM = 0.55
"""Share of the range that the data must fill for an earlier range to be kept."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The y range of a chart."""

    low: float
    """Value at the bottom dot."""
    high: float
    """Value at the top dot."""
    log: bool = False
    """Whether equal distances are equal ratios; then `low` is above zero."""

    def dots(self, values: NDArray[np.float32], count: int) -> NDArray[np.intp]:
        """Give each value's dot row of `count` from the top; what is out of range sits at the edge.

        Where the value is NaN the result means nothing.
        """
        low, high = self._place(self.low), self._place(self.high)
        with np.errstate(invalid="ignore", divide="ignore"):
            wide = values.astype(np.float64)
            placed = np.log10(np.maximum(wide, 0.0)) if self.log else wide
            share = (high - placed) / (high - low)
            share = np.where(share == share, share, 0.0)
            rows = np.rint(np.clip(share, 0.0, 1.0) * (count - 1))
        return rows.astype(np.intp)

    def row(self, value: float, count: int) -> int | None:
        """Give a value's row of `count` cells from the top, None where it is out of range: the row
        in which a curve that has this value lights a dot, so that no label is beside its value."""
        if not self.low <= value <= self.high:
            return None
        low, high = self._place(self.low), self._place(self.high)
        share = (high - self._place(value)) / (high - low)
        return round(min(1.0, max(0.0, share)) * (count * DOTS_HIGH - 1)) // DOTS_HIGH

    def value_at(self, share: float) -> float:
        """Give the value at a share of the height, 0 at the top and 1 at the bottom."""
        low, high = self._place(self.low), self._place(self.high)
        placed = high - share * (high - low)
        return 10.0**placed if self.log else placed

    def _place(self, value: float) -> float:
        return math.log10(value) if self.log else value


def fit(
    lows: NDArray[np.float32],
    highs: NDArray[np.float32],
    *,
    log: bool = False,
    robust: bool = True,
    previous: Scale | None = None,
    keep: tuple[float, ...] = (),
) -> Scale:
    """Choose the y range for bins with these least and greatest values (NaN: an empty bin).

    Several series are the rows of two-dimensional arrays. A robust range leaves out excursions
    that last for one or two bins and are far away; the chart marks them. `previous` is kept as
    long as it still fits, so that a growing run does not breathe. `keep` are further values to
    show when they are near enough to cost little.
    """
    lows, highs = np.atleast_2d(lows), np.atleast_2d(highs)
    log = log and bool((np.isfinite(highs) & (highs > 0)).any())
    ranges = [
        found
        for one, other in zip(lows, highs, strict=True)
        if (found := _range(one, other, log, robust)) is not None
    ]
    if not ranges:
        return previous if previous is not None and previous.log == log else Scale(0.0, 1.0)
    low, high = min(one for one, _ in ranges), max(one for _, one in ranges)
    for value in keep:
        if log and value <= 0:
            continue
        placed = math.log10(value) if log else value
        if high < placed <= high + 0.35 * (high - low):
            high = placed
    if previous is not None and previous.log == log and _still_fits(previous, low, high):
        return previous
    return _rounded(low, high, log)


def _range(
    lows: NDArray[np.float32], highs: NDArray[np.float32], log: bool, robust: bool
) -> tuple[float, float] | None:
    """Give the range of one series, in decades where `log`; None where it has nothing to show."""
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
    """Give the range of what lasts, stretched to the farthest excursion that is not far away."""
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
    """Give the running median over a few bins; a short series is its own."""
    if len(values) < _ENOUGH:
        return values
    windows = np.lib.stride_tricks.sliding_window_view(values, _SUSTAINED)
    found: NDArray[np.float64] = np.partition(windows, _SUSTAINED // 2, axis=1)[:, _SUSTAINED // 2]
    return found


def _still_fits(previous: Scale, low: float, high: float) -> bool:
    first = math.log10(previous.low) if previous.log else previous.low
    last = math.log10(previous.high) if previous.log else previous.high
    return first <= low and high <= last and (high - low) >= _ROOM * (last - first)


def _rounded(low: float, high: float, log: bool) -> Scale:
    """Round the limits outward, to numbers that a person would write on an axis."""
    if log:
        if high - low < 0.02:
            low, high = low - 0.01, high + 0.01
        step = 0.05 if high - low > 0.5 else 0.01
        return Scale(
            10.0 ** (math.floor(low / step) * step), 10.0 ** (math.ceil(high / step) * step), True
        )
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        room = 0.05 * abs(high) or 1.0
        low, high = low - room, high + room
    step = nice_step((high - low) / 12)
    return Scale(math.floor(low / step) * step, math.ceil(high / step) * step)
