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

from dataclasses import dataclass, replace

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
Bools = NDArray[np.bool_]


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
    """The last lines of the running epoch, which later lines are differenced against."""

    epoch: Ints
    iteration: Ints
    average: Floats
    window: Floats
    present: Bools
    mean: Floats
    bound: Floats
    start: int
    """First iteration counted, the latest that is possible."""
    slack: int
    """How much earlier the count may have begun."""
    invertible: Bools
    """Meters that were there from the epoch's first line on."""

    @classmethod
    def empty(cls, meters: int) -> _Context:
        """Nothing was read yet."""
        nothing, table = np.empty(0, np.int64), np.empty((0, meters))
        flags = np.empty((0, meters), bool)
        none = np.zeros(meters, bool)
        return cls(nothing, nothing, table, table, flags, table, table, 0, 0, none)

    def widened(self, meters: int) -> _Context:
        """The same with columns for meters that were met only now."""
        more = meters - self.average.shape[1]
        return replace(
            self,
            average=_wider(self.average, more),
            window=_wider(self.window, more),
            present=np.pad(self.present, ((0, 0), (0, more))),
            mean=_wider(self.mean, more),
            bound=_wider(self.bound, more),
            invertible=np.pad(self.invertible, (0, more)),
        )


def _wider(table: Floats, more: int) -> Floats:
    return np.pad(table, ((0, 0), (0, more)), constant_values=np.nan)


@dataclass(frozen=True, slots=True)
class _Lines:
    """Context and block as one table, and where the epochs (or processes) in it begin."""

    iteration: Ints
    average: Floats
    window: Floats
    present: Bools
    mean: Floats
    bound: Floats
    heads: Ints
    """Rows of the first lines of epochs (or processes)."""
    head: Ints
    """Row of the first line of each row's epoch."""
    start: Ints
    """First iteration that each row's average counts, the latest that is possible."""
    slack: Ints
    """How much earlier that count may have begun."""
    old: int
    """Rows of the context."""


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
        self._averaging: Bools = np.ones(0, bool)
        self._context = _Context.empty(0)

    def feed(
        self,
        epoch: Ints,
        iteration: Ints,
        average: Floats,
        window: Floats,
        present: Bools,
        restarted: Bools | None = None,
    ) -> Recovered:
        """Recover a block. Tables are lines × meters; `present` is False where none was printed.

        The number of meters may grow from block to block (new ones at the end), never shrink.
        `restarted` marks lines from which on a new process counts, though the iterations go on.
        """
        meters = average.shape[1]
        if not len(epoch):
            nothing, flags = np.empty((0, meters)), np.empty((0, meters), bool)
            return Recovered(np.empty(0, np.int64), nothing, nothing, flags)
        if meters > self._context.average.shape[1]:
            self._context = self._context.widened(meters)
        lines = self._joined(epoch, iteration, average, window, present, restarted)
        invertible = lines.present[lines.head]
        if len(self._context.iteration):
            invertible[lines.head == 0] = self._context.invertible
        first = self._first_lines(lines)
        self._difference(lines)
        self._cut_with_window(lines)
        self._keep(lines, np.concatenate([self._context.epoch, epoch]), invertible[-1])
        block = slice(lines.old, None)
        known = invertible[block] & present & ~np.isnan(lines.bound[block])
        return Recovered(
            first=first[block],
            mean=np.where(known, lines.mean[block], np.nan),
            bound=np.where(known, lines.bound[block], np.nan),
            known=known,
        )

    def _joined(
        self,
        epoch: Ints,
        iteration: Ints,
        average: Floats,
        window: Floats,
        present: Bools,
        restarted: Bools | None,
    ) -> _Lines:
        context = self._context
        old = len(context.iteration)
        epochs = np.concatenate([context.epoch, epoch])
        ks = np.concatenate([context.iteration, iteration])
        begins = np.ones(len(ks), bool)
        begins[1:] = (epochs[1:] != epochs[:-1]) | (ks[1:] <= ks[:-1])
        if restarted is not None:
            begins[old:] |= restarted
        begins[: max(old, 1)] = False
        begins[0] = True
        heads = np.flatnonzero(begins)
        head = np.repeat(heads, np.diff(np.append(heads, len(ks))))
        inside = np.diff(ks)[~begins[1:]]
        if len(inside):
            self.stride = int(np.min(inside))
        start = ks[head]
        slack = np.minimum(self.stride - 1, start)
        if old:
            start[head == 0], slack[head == 0] = context.start, context.slack
        elif self._middle:
            start[head == 0], slack[head == 0] = 0, 0
        self._middle = False
        unknown = np.full(average.shape, np.nan)
        return _Lines(
            iteration=ks,
            average=np.concatenate([context.average, average]),
            window=np.concatenate([context.window, window]),
            present=np.concatenate([context.present, present]),
            mean=np.concatenate([context.mean, unknown]),
            bound=np.concatenate([context.bound, unknown]),
            heads=heads,
            head=head,
            start=start,
            slack=slack,
            old=old,
        )

    def _first_lines(self, lines: _Lines) -> Ints:
        """First iteration of each row; the first line of an epoch is its own average."""
        ks = lines.iteration
        first = np.empty(len(ks), np.int64)
        first[1:] = ks[:-1] + 1
        heads = lines.heads[lines.heads >= lines.old]
        begun = lines.start[heads] == ks[heads]
        first[heads] = np.where(begun & (lines.slack[heads] == 0), ks[heads], -1)
        own = heads[begun]
        lines.mean[own], lines.bound[own] = lines.average[own], self.half_unit
        return first

    def _difference(self, lines: _Lines) -> None:
        """Range of the interval mean over every count that a resume allows; its middle and half."""
        ks, half = lines.iteration, self.half_unit
        rows = np.arange(max(lines.old, 1), len(ks))
        rows = rows[lines.head[rows] != rows]
        if not len(rows):
            return
        length = (ks[rows] - ks[rows - 1])[:, None].astype(np.float64)
        count = (ks[rows - 1] - lines.start[rows] + 1)[:, None].astype(np.float64)
        earlier, later = lines.average[rows - 1], lines.average[rows]
        with np.errstate(invalid="ignore", over="ignore"):
            slope = (later - earlier) / length
            mean = later + count * slope
            spread = np.broadcast_to(half * (2 * count + length) / length, mean.shape)
            slack = lines.slack[rows][:, None].astype(np.float64)
            if slack.any():
                # Mean and spread both go with the count, so the range ends where the counts end.
                other = later + (count + slack) * slope
                widest = half * (2 * (count + slack) + length) / length
                low = np.minimum(mean - spread, other - widest)
                high = np.maximum(mean + spread, other + widest)
                sure = slack == 0
                mean = np.where(sure, mean, (low + high) / 2)
                spread = np.where(sure, spread, (high - low) / 2)
        # An average that turned non-finite did so in this interval; after it nothing is known.
        lost = ~np.isfinite(earlier)
        turned = ~lost & ~np.isfinite(later)
        if lost.any() or turned.any():
            mean = np.where(turned, later, np.where(lost, np.nan, mean))
            spread = np.where(turned, 0.0, np.where(lost, np.nan, spread))
        lines.mean[rows], lines.bound[rows] = mean, spread

    def _cut_with_window(self, lines: _Lines) -> None:
        """Cut the ranges with what the moving window's mean says, where it has begun to move."""
        stride = max(self.stride, 1)
        if self.window % stride:
            return
        ks, lag = lines.iteration, self.window // stride
        count = ks - lines.start + 1
        sure = lines.slack == 0
        self._test_window(lines, sure & (count <= self.window))
        rows = np.arange(max(lines.old, lag + 1), len(ks))
        rows = rows[sure[rows] & (count[rows - 1] > self.window)]
        rows = rows[lines.head[rows - lag - 1] == lines.head[rows]]
        rows = rows[
            (ks[rows - lag] == ks[rows] - self.window)
            & (ks[rows - lag - 1] == ks[rows - 1] - self.window)
        ]
        if not len(rows):
            return
        for turn in np.unique(count[rows] // self.window):
            self._cut(lines, rows[count[rows] // self.window == turn], lag)

    def _test_window(self, lines: _Lines, full: Bools) -> None:
        """Whether the first number is a mean at all; DeiT's is a median of twenty."""
        with np.errstate(invalid="ignore"):
            apart = np.abs(lines.window[full] - lines.average[full])
            allowed = 2 * self.half_unit + 2**-19 * np.abs(lines.average[full])
            agrees = np.all((apart <= allowed) | np.isnan(apart), axis=0)
        agrees[: len(self._averaging)] &= self._averaging
        self._averaging = agrees

    def _cut(self, lines: _Lines, rows: Ints, lag: int) -> None:
        scale = self.window / (lines.iteration[rows] - lines.iteration[rows - 1])[:, None]
        new, old = lines.window[rows], lines.window[rows - 1]
        with np.errstate(invalid="ignore", over="ignore"):
            rounding = 2 * self.half_unit + _FLOAT32_MEAN * (np.abs(new) + np.abs(old))
            value = scale * (new - old) + lines.mean[rows - lag]
            spread = scale * rounding + lines.bound[rows - lag]
            mean, bound = lines.mean[rows], lines.bound[rows]
            low = np.maximum(mean - bound, value - spread)
            high = np.minimum(mean + bound, value + spread)
            better = self._averaging & (low <= high) & (high - low < 2 * bound)
        lines.mean[rows] = np.where(better, (low + high) / 2, mean)
        lines.bound[rows] = np.where(better, (high - low) / 2, bound)

    def _keep(self, lines: _Lines, epochs: Ints, invertible: Bools) -> None:
        # One more line than the window reaches back, so that its oldest interval has both ends.
        reach = self.window // max(self.stride, 1) + 2
        keep = slice(max(int(lines.head[-1]), len(epochs) - reach), None)
        self._context = _Context(
            epoch=epochs[keep].copy(),
            iteration=lines.iteration[keep].copy(),
            average=lines.average[keep].copy(),
            window=lines.window[keep].copy(),
            present=lines.present[keep].copy(),
            mean=lines.mean[keep].copy(),
            bound=lines.bound[keep].copy(),
            start=int(lines.start[-1]),
            slack=int(lines.slack[-1]),
            invertible=invertible.copy(),
        )
