"""The newest columns of a curve, worked out value by value.

A batch that comes changes a handful of columns. NumPy takes longer for so few numbers than Python,
several times as long where its code is not in the processor's caches, as between the frames of a
dashboard. The values are those that `line_of` and `placement` give, to the last bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from vlamon.charts.bins import Bins
from vlamon.charts.cells import Curve
from vlamon.charts.scale import Scale
from vlamon.charts.shapes import Shape, spans
from vlamon.charts.smoothing import Smoothing, reach_and_kernel, smooths


@dataclass(frozen=True, slots=True)
class Tail:
    """What a change of the newest columns can reach."""

    first: int
    """Its first column."""
    line: list[float]
    """The line, NaN where a column has no value, up to the newest column that has one."""
    low: list[float]
    high: list[float]
    finite: list[int]

    @property
    def end(self) -> int:
        """One past its last column."""
        return self.first + len(self.line)


@dataclass(frozen=True, slots=True)
class PlacedTail:
    """The same in dots, as `Shape` has them."""

    first: int
    line: list[int]
    top: list[int]
    bottom: list[int]

    def is_end_of(self, shape: Shape) -> bool:
        """Say whether the shape has these dots already."""
        at = slice(self.first, self.first + len(self.line))
        drawn: list[list[int]] = [
            dots[at].tolist() for dots in (shape.line, shape.top, shape.bottom)
        ]
        return drawn == [self.line, self.top, self.bottom]


def tail_of(bins: Bins, smoothing: Smoothing, since: int) -> Tail | None:
    """Return what a change of the columns from `since` on can reach of a line; None where that is
    the whole line."""
    reach, kernel = 0, [1.0]
    if smooths(int(np.count_nonzero(bins.finite)), smoothing):
        reach, weights = reach_and_kernel(len(bins.low), smoothing)
        kernel = weights.tolist()
    first = since - 2 * reach
    if first < 0:
        return None
    finite = bins.finite[first:].tolist()
    if not all(finite[: since - first]):
        return None
    while finite and not finite[-1]:
        finite.pop()
    at = slice(first, first + len(finite))
    low, high, total = bins.low[at].tolist(), bins.high[at].tolist(), bins.total[at].tolist()
    mean = [
        min(max(summed / count, least), most) if count else math.nan
        for summed, count, least, most in zip(total, finite, low, high, strict=True)
    ]
    line = _smoothed(mean, low, high, finite, kernel) if reach else mean
    return Tail(first + reach, line[reach:], low[reach:], high[reach:], finite[reach:])


def _smoothed(
    mean: list[float], low: list[float], high: list[float], finite: list[int], kernel: list[float]
) -> list[float]:
    """Return means spread by a kernel over the columns that have one, within their bands."""
    held = [column for column, count in enumerate(finite) if count]
    reach = len(kernel) // 2
    line = [math.nan] * len(mean)
    for place, column in enumerate(held):
        summed = weight = 0.0
        for offset, share in enumerate(kernel, place - reach):
            if 0 <= offset < len(held):
                near = held[offset]
                summed += mean[near] * finite[near] * share
                weight += finite[near] * share
        value = summed / weight
        if finite[column] > 1:
            value = min(max(value, low[column]), high[column])
        line[column] = value
    return line


def placed_tail(tail: Tail, scale: Scale, dots: int) -> PlacedTail | None:
    """Place a tail on `dots` dot rows; None on an axis where that takes more than arithmetic."""
    if scale.log or not scale.high > scale.low:
        return None
    high, span, last = scale.high, scale.high - scale.low, dots - 1

    def dot(value: float) -> int:
        share = (high - value) / span
        return round(min(max(share, -3.0), 4.0) * last) if share == share else 0

    return PlacedTail(
        tail.first,
        [dot(value) for value in tail.line],
        [dot(value) for value in tail.high],
        [dot(low) if count else -1 for low, count in zip(tail.low, tail.finite, strict=True)],
    )


def with_tail(curve: Curve, tail: Tail) -> Curve:
    """Return a curve whose line ends with a tail."""
    line = curve.line.copy()
    line[tail.first : tail.end] = tail.line
    return replace(curve, line=line)


def reshaped(curve: Curve, shape: Shape, placed: PlacedTail) -> Shape:
    """Return the shape of a curve that ends otherwise than it did."""
    at = slice(placed.first, placed.first + len(placed.line))
    line, top, bottom = shape.line.copy(), shape.top.copy(), shape.bottom.copy()
    line[at], top[at], bottom[at] = placed.line, placed.top, placed.bottom
    first, end = spans(curve, line)
    return Shape(line, first, end, top, bottom)
