"""What a running-average log hides: the mean between two of its lines, and how sure it is.

A MetricLogger prints, every few iterations, two averages of each meter: over the last 1000 updates
and since the epoch began. Ten batches at closs 95 vanish in a mean over a thousand. For a meter
that is updated at every iteration they can be had back: with the average m_a after a updates and
m_b after b, the mean over (a, b] is (b·m_b − a·m_a) / (b − a). A number printed with half a unit
h of rounding bounds the error by h·(a + b) / (b − a).

Past the window's length the first number bounds it a second time: the window moved by b − a, so
its change tells the new batches' sum less that of the ones which left, and those were recovered
before. The two ranges are cut with each other.

A resumed epoch counts from the iteration it was resumed at. The log's first line only says that
this was one of the iterations since the print that is missing, so the count is known but for
0..stride−1; every candidate is admitted and the bound covers them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

WINDOW = 1000
"""Updates that a MetricLogger's first number averages over."""

HALF_UNIT = 5e-5
"""Rounding error of a number printed with four decimals."""

STRIDE = 10
"""Iterations between two lines, until a log shows that it prints in another rhythm."""

_FLOAT32_MEAN = 2.0**-22
"""The window's mean is taken in float32: relative error of the conversion and the summation."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recovered:
    """Interval means of a block of log lines; one row a line, one column a meter."""

    first: Ints
    """First iteration that a line covers; −1 where a resume leaves it unknown."""
    mean: Floats
    """Recovered mean; NaN where it cannot be known (or where it is NaN: see `known`)."""
    bound: Floats
    """Largest possible error of the mean; NaN where it cannot be known."""
    known: NDArray[np.bool_]
    """Whether `mean` says anything; a known NaN is a NaN that the interval brought."""


@dataclass(slots=True)
class _Context:
    """Lines of the running epoch that later lines are differenced against."""

    epoch: int = -1
    iteration: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    average: Floats = field(default_factory=lambda: np.empty((0, 0)))
    window: Floats = field(default_factory=lambda: np.empty((0, 0)))
    mean: Floats = field(default_factory=lambda: np.empty((0, 0)))
    bound: Floats = field(default_factory=lambda: np.empty((0, 0)))
    start: int = 0
    """First iteration counted, the latest that is possible."""
    slack: int = 0
    """How much earlier the count may have begun."""
    invertible: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))
    """Meters that were there from the epoch's first line on."""


class Desmearer:
    """Turns lines of running averages into interval means, block by block, in the log's order."""

    def __init__(
        self, half_unit: float = HALF_UNIT, window: int = WINDOW, *, middle: bool = False
    ) -> None:
        """`middle` says that the reading begins in the middle of a file: its first line is then no
        resume, and its count is taken to run from the epoch's start."""
        self.half_unit = half_unit
        self.window = window
        self.stride = STRIDE
        self._middle = middle
        self._context = _Context()

    def feed(
        self,
        epoch: Ints,
        iteration: Ints,
        average: Floats,
        window: Floats,
        present: NDArray[np.bool_],
        restarted: NDArray[np.bool_] | None = None,
    ) -> Recovered:
        """Recover a block. Tables are lines × meters; `present` is False where none was printed.

        The number of meters may grow from block to block (new ones at the end), never shrink.
        `restarted` marks lines from which on a new process counts, though the iterations go on.
        """
        rows, meters = average.shape
        out = Recovered(
            first=np.empty(rows, np.int64),
            mean=np.full((rows, meters), np.nan),
            bound=np.full((rows, meters), np.nan),
            known=np.zeros((rows, meters), bool),
        )
        self._widen(meters)
        for begin, end in segments(epoch, iteration, restarted):
            cut = slice(begin, end)
            new_process = restarted is not None and bool(restarted[begin])
            if begin > 0 or new_process or not self._continues(epoch[0], iteration[0]):
                self._begin(int(epoch[begin]), int(iteration[begin]), present[begin])
            self._recover(iteration[cut], average[cut], window[cut], present[cut], out, begin)
        return out

    def _continues(self, epoch: np.int64, iteration: np.int64) -> bool:
        held = self._context.iteration
        return bool(len(held) and self._context.epoch == epoch and iteration > held[-1])

    def _widen(self, meters: int) -> None:
        context = self._context
        missing = meters - context.average.shape[1]
        if missing > 0:
            pad = ((0, 0), (0, missing))
            for name in ("average", "window", "mean", "bound"):
                padded = np.pad(getattr(context, name), pad, constant_values=np.nan)
                setattr(context, name, padded)
            context.invertible = np.pad(context.invertible, (0, missing), constant_values=False)

    def _begin(self, epoch: int, iteration: int, present: NDArray[np.bool_]) -> None:
        meters = len(present)
        fresh = _Context(
            epoch=epoch,
            average=np.empty((0, meters)),
            window=np.empty((0, meters)),
            mean=np.empty((0, meters)),
            bound=np.empty((0, meters)),
            invertible=present.copy(),
        )
        if not self._middle:
            fresh.start = iteration
            fresh.slack = min(self.stride - 1, iteration)
        self._middle = False
        self._context = fresh

    def _recover(
        self,
        iteration: Ints,
        average: Floats,
        window: Floats,
        present: NDArray[np.bool_],
        out: Recovered,
        at: int,
    ) -> None:
        context = self._context
        old = len(context.iteration)
        ks = np.concatenate([context.iteration, iteration])
        averages = np.concatenate([context.average, average])
        windows = np.concatenate([context.window, window])
        if len(ks) > 1:
            self.stride = int(np.min(np.diff(ks)))
        mean = np.concatenate([context.mean, np.full(average.shape, np.nan)])
        bound = np.concatenate([context.bound, np.full(average.shape, np.nan)])

        first = np.empty(len(ks), np.int64)
        first[1:] = ks[:-1] + 1
        new = np.arange(max(old, 1), len(ks))
        if old == 0:
            begun = context.start == ks[0]
            first[0] = ks[0] if begun and context.slack == 0 else -1
            if begun:
                mean[0], bound[0] = averages[0], self.half_unit
        if len(new):
            mean[new], bound[new] = self._difference(ks, averages, new)
            self._cut_with_window(ks, averages, windows, mean, bound, new)

        rows = slice(at, at + len(iteration))
        usable = context.invertible & present
        out.first[rows] = first[old:]
        out.mean[rows] = np.where(usable, mean[old:], np.nan)
        out.bound[rows] = np.where(usable, bound[old:], np.nan)
        out.known[rows] = ~np.isnan(out.bound[rows])
        self._keep(ks, averages, windows, mean, bound)

    def _difference(self, ks: Ints, averages: Floats, new: Ints) -> tuple[Floats, Floats]:
        """Range of the interval mean over every count that a resume allows; its middle and half."""
        context, half = self._context, self.half_unit
        length = (ks[new] - ks[new - 1])[:, None].astype(np.float64)
        before = (ks[new - 1] - context.start + 1)[:, None].astype(np.float64)
        earlier, later = averages[new - 1], averages[new]
        with np.errstate(invalid="ignore", over="ignore"):
            slope = (later - earlier) / length
            ends = []
            for slack in {0, context.slack}:
                count = before + slack
                value = later + count * slope
                spread = half * (2 * count + length) / length
                ends.append((value - spread, value + spread, value, spread))
            if len(ends) == 1:
                mean, bound = ends[0][2], np.broadcast_to(ends[0][3], later.shape).copy()
            else:
                low = np.minimum(ends[0][0], ends[1][0])
                high = np.maximum(ends[0][1], ends[1][1])
                mean, bound = (low + high) / 2, (high - low) / 2
        # An average that turned non-finite did so in this interval; after it nothing is known.
        turned = np.isfinite(earlier) & ~np.isfinite(later)
        mean = np.where(turned, later, mean)
        bound = np.where(turned, 0.0, bound)
        lost = ~np.isfinite(earlier)
        return np.where(lost, np.nan, mean), np.where(lost, np.nan, bound)

    def _cut_with_window(
        self,
        ks: Ints,
        averages: Floats,
        windows: Floats,
        mean: Floats,
        bound: Floats,
        new: Ints,
    ) -> None:
        """Cut the ranges with what the moving window's mean says, where it has begun to move."""
        context, stride = self._context, max(self.stride, 1)
        if context.slack or self.window % stride:
            return
        lag = self.window // stride
        counts = ks - context.start + 1
        moved = new[(counts[new - 1] > self.window) & (new - lag >= 1)]
        moved = moved[
            (ks[moved - lag] == ks[moved] - self.window)
            & (ks[moved - lag - 1] == ks[moved - 1] - self.window)
        ]
        if not len(moved):
            return
        full = counts <= self.window
        with np.errstate(invalid="ignore"):
            apart = np.abs(windows[full] - averages[full])
            allowed = 2 * self.half_unit + 2**-19 * np.abs(averages[full])
            averaging = np.all((apart <= allowed) | np.isnan(apart), axis=0)
        for chunk in np.split(moved, np.flatnonzero(np.diff(moved // lag)) + 1):
            scale = self.window / (ks[chunk] - ks[chunk - 1])[:, None]
            with np.errstate(invalid="ignore", over="ignore"):
                rounding = 2 * self.half_unit + _FLOAT32_MEAN * (
                    np.abs(windows[chunk]) + np.abs(windows[chunk - 1])
                )
                value = scale * (windows[chunk] - windows[chunk - 1]) + mean[chunk - lag]
                spread = scale * rounding + bound[chunk - lag]
                low = np.maximum(mean[chunk] - bound[chunk], value - spread)
                high = np.minimum(mean[chunk] + bound[chunk], value + spread)
                better = averaging & (low <= high) & (high - low < 2 * bound[chunk])
            mean[chunk] = np.where(better, (low + high) / 2, mean[chunk])
            bound[chunk] = np.where(better, (high - low) / 2, bound[chunk])

    def _keep(
        self, ks: Ints, averages: Floats, windows: Floats, mean: Floats, bound: Floats
    ) -> None:
        context = self._context
        # One more line than the window reaches back, so that its oldest interval has both ends.
        keep = slice(max(0, len(ks) - self.window // max(self.stride, 1) - 2), None)
        context.iteration, context.average = ks[keep].copy(), averages[keep].copy()
        context.window, context.mean = windows[keep].copy(), mean[keep].copy()
        context.bound = bound[keep].copy()


def segments(
    epoch: Ints, iteration: Ints, restarted: NDArray[np.bool_] | None = None
) -> list[tuple[int, int]]:
    """Cut a block where the epoch changes, the iteration falls back or a new process counts."""
    if not len(epoch):
        return []
    breaks = (epoch[1:] != epoch[:-1]) | (iteration[1:] <= iteration[:-1])
    if restarted is not None:
        breaks |= restarted[1:]
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(epoch)]
    return list(pairwise(edges))
