"""Recovers the mean between two lines of a running-average log, and bounds its error.

A MetricLogger prints, every few iterations, two averages of each meter: over the last 1000 updates
and since the epoch began. Ten batches at closs 95 vanish in a mean over a thousand. For a meter
that is updated at every iteration they can be recovered: with the average m_a after a updates and
m_b after b, the mean over (a, b] is (b·m_b − a·m_a) / (b − a). A number printed with half a unit
h of rounding bounds the error by h·(a + b) / (b − a).

Past the window's length the first number bounds it a second time: the window moved by b − a, so
its change tells the new batches' sum less that of the ones which left, and those were recovered
before. The two ranges are cut with each other. Where they do not meet, another process counts
since: it was resumed without a sign.

A resumed epoch counts from the iteration it was resumed at. The log's first line only says that
this was one of the iterations since the print that is missing, so the count is known but for
0..stride−1; every candidate is admitted and the bound covers them all. A log whose head is missing
looks the same; where that is known, or the numbers refute a resume, more is in doubt
(`count_range`), and a mean is said only if the doubt makes little difference to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlamon.analysis.averaged_lines import (
    ASSUMED,
    COUNTED,
    DOUBTFUL,
    LOST,
    Bools,
    Context,
    Floats,
    Ints,
    Lines,
    joined,
)
from vlamon.analysis.resume_bounds import SHOWN_BY, Rules, majority, narrowed, tolerance

WINDOW = 1000
"""Updates that a MetricLogger's first number averages over."""

HALF_UNIT = 5e-5
"""Rounding error of a number printed with four decimals."""

STRIDE = 10
"""Iterations between two lines, until a log shows that it prints in another rhythm."""

_FLOAT32_MEAN = 2.0**-22
"""The window's mean is taken in float32: relative error of the conversion and the summation."""

_FLOAT64_SUM = 2.0**-50
"""Relative error of an average whose sum was added up in float64."""

_LITTLE = 0.05
"""Share of the printed average that a doubt about the count may make of a mean, to be said."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """Interval means of a block of log lines; one row a line, one column a meter."""

    first: Ints
    """First iteration that a line covers; −1 where a resume leaves it unknown."""
    mean: Floats
    """Recovered mean; NaN where it cannot be known (or where it is NaN: see `known`)."""
    bound: Floats
    """Largest possible error of the mean; NaN where it cannot be known."""
    known: Bools
    """Whether `mean` says anything; a known NaN is a NaN that the interval brought."""
    restarted: Bools
    """Lines from which on a new process counts in the same epoch, announced or found out."""
    invertible: Bools
    """Cells of meters that every iteration updates: unknown there means in doubt, or after NaN."""


class Desmearer:
    """Turns lines of running averages into interval means, block by block, in the log's order."""

    def __init__(
        self, half_unit: float = HALF_UNIT, window: int = WINDOW, *, head_missing: bool = False
    ) -> None:
        """`head_missing`: the log lost its first lines, so its first count is no resume's."""
        self.head_missing = head_missing
        self.half_unit = half_unit
        self.window = window
        self.stride = STRIDE
        self._shown: Bools = np.zeros(0, bool)
        self._refuted: Bools = np.zeros(0, bool)
        self._slides: Bools = np.zeros(0, bool)
        """Meters whose first number has left the average behind the window's length, as a mean over
        the window does; of another that never does, nothing follows from that."""
        self._context = Context.empty(0)

    def feed(
        self,
        epoch: Ints,
        iteration: Ints,
        average: Floats,
        window: Floats,
        present: Bools,
        resumed: Ints | None = None,
        positive: Bools | None = None,
    ) -> Recovered:
        """Recover a block. Tables are lines × meters; `present` is False where none was printed.

        The number of meters may grow from block to block (new ones at the end), never shrink.
        `resumed` marks lines from which on a new process counts, though the iterations go on, with
        the earliest that it may have begun at (else −1); `positive` meters that never are negative.
        """
        meters = average.shape[1]
        since = np.full(len(epoch), -1) if resumed is None else resumed
        again = since >= 0
        if not len(epoch):
            nothing, flags = np.empty((0, meters)), np.empty((0, meters), bool)
            return Recovered(np.empty(0, np.int64), nothing, nothing, flags, again, flags)
        if meters > self._context.average.shape[1]:
            self._context = self._context.widened(meters)
            more = meters - len(self._shown)
            self._shown = np.pad(self._shown, (0, more))
            self._refuted = np.pad(self._refuted, (0, more))
            self._slides = np.pad(self._slides, (0, more))
        lines, self.stride = joined(
            self._context,
            epoch,
            iteration,
            average,
            window,
            present,
            since,
            self.stride,
            self.head_missing,
        )
        none = np.zeros(meters, bool)
        rules = Rules(self.half_unit, self.window, none if positive is None else positive)
        self._learn_window(lines)
        for head in np.unique(lines.head[lines.doubt == DOUBTFUL]).tolist():
            self._narrow(lines, head, rules)
        self._recover(lines, lines.old, rules)
        self._settle(lines, rules, again)
        # One more line than the window reaches back, so that its oldest interval has both ends.
        self._context = lines.kept(self.window // max(self.stride, 1) + 2)
        block = slice(lines.old, None)
        known = lines.invertible[block] & present & ~np.isnan(lines.bound[block])
        return Recovered(
            first=_first_iterations(lines)[block],
            mean=np.where(known, lines.mean[block], np.nan),
            bound=np.where(known, lines.bound[block], np.nan),
            known=known,
            restarted=again,
            invertible=lines.invertible[block],
        )

    def _learn_window(self, lines: Lines) -> None:
        """Whether the first number is a mean over the window; DeiT's is a median of twenty."""
        if np.all(self._shown | self._refuted):
            return
        full = lines.iteration - lines.start + lines.slack < self.window
        full &= (lines.doubt == COUNTED) & (lines.start <= lines.slack)
        rows = np.flatnonzero(full)
        with np.errstate(invalid="ignore"):
            average = lines.average[rows]
            differs = np.abs(lines.window[rows] - average) > tolerance(average, self.half_unit)
            moved = np.abs(np.diff(average, axis=0)) > 4 * self.half_unit
        self._refuted |= ~self._shown & differs.any(axis=0)
        self._shown |= ~self._refuted & (moved.sum(axis=0) >= SHOWN_BY)
        # Of a resume that is only assumed, lines that agree tell the same; where they no longer
        # do, the assumption may be what is wrong.
        rows = np.flatnonzero((lines.doubt == ASSUMED) & (lines.head == lines.head[-1]))
        with np.errstate(invalid="ignore"):
            average = lines.average[rows]
            differs = np.abs(lines.window[rows] - average) > tolerance(average, self.half_unit)
            moved = np.abs(np.diff(average, axis=0)) > 4 * self.half_unit
        agrees = np.cumsum(differs, axis=0)[1:] == 0
        self._shown |= ~self._refuted & ((moved & agrees).sum(axis=0) >= SHOWN_BY)

    def _narrow(self, lines: Lines, head: int, rules: Rules) -> None:
        """Let each line of a process narrow down where its count began."""
        rows = slice(head, lines.end_of(head))
        start, slack = int(lines.start[head]), int(lines.slack[head])
        low, high, self._shown = narrowed(
            start - slack,
            start,
            lines.iteration[rows],
            lines.average[rows],
            lines.window[rows],
            self._shown,
            self._refuted,
            rules,
        )
        lines.start[rows], lines.slack[rows] = high, np.maximum(high - low, 0)
        lines.doubt[rows] = np.where(low > high, LOST, DOUBTFUL)

    def _recover(self, lines: Lines, begin: int, rules: Rules, end: int | None = None) -> None:
        """Means and bounds of these rows, from all that their process has printed."""
        rows = np.arange(begin, len(lines.iteration) if end is None else end)
        lines.mean[rows], lines.bound[rows] = np.nan, np.nan
        lines.apart[rows] = False
        heads = rows[lines.head[rows] == rows]
        own = heads[lines.doubt[heads] != LOST]
        lines.mean[own], lines.bound[own] = lines.average[own], self.half_unit
        inside = rows[(lines.head[rows] != rows) & (lines.doubt[rows] != LOST)]
        if not len(inside):
            return
        self._difference(lines, inside)
        if rules.positive.any():
            _cut_at_zero(lines, inside, rules.positive)
        self._cut_with_window(lines, inside)
        doubtful = inside[lines.doubt[inside] == DOUBTFUL]
        if len(doubtful):
            self._leave_out(lines, doubtful)

    def _difference(self, lines: Lines, rows: Ints) -> None:
        """Range of the interval mean over every count that a resume allows; its middle and half."""
        ks = lines.iteration
        length = (ks[rows] - ks[rows - 1])[:, None].astype(np.float64)
        count = (ks[rows - 1] - lines.start[rows] + 1)[:, None].astype(np.float64)
        earlier, later = lines.average[rows - 1], lines.average[rows]
        with np.errstate(invalid="ignore", over="ignore"):
            half = self.half_unit + _FLOAT64_SUM * np.maximum(np.abs(earlier), np.abs(later))
            slope = (later - earlier) / length
            mean = later + count * slope
            spread = half * (2 * count + length) / length
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

    def _cut_with_window(self, lines: Lines, rows: Ints) -> None:
        """Cut the ranges with what the moving window's mean says, where it has begun to move."""
        stride = max(self.stride, 1)
        if self.window % stride or not self._shown.any():
            return
        ks, lag = lines.iteration, self.window // stride
        count = ks - lines.start + 1
        rows = rows[(rows > lag) & (ks[rows - 1] - lines.start[rows] >= self.window)]
        rows = rows[lines.head[rows - lag - 1] == lines.head[rows]]
        rows = rows[
            (ks[rows - lag] == ks[rows] - self.window)
            & (ks[rows - lag - 1] == ks[rows - 1] - self.window)
        ]
        if not len(rows):
            return
        with np.errstate(invalid="ignore"):
            average = lines.average[rows]
            left = np.abs(lines.window[rows] - average) > tolerance(average, self.half_unit)
        self._slides |= self._shown & left.any(axis=0)
        if not self._slides.any():
            return
        lines.checked[rows] = True
        for turn in np.unique(count[rows] // self.window):
            self._cut(lines, rows[count[rows] // self.window == turn], lag)

    def _cut(self, lines: Lines, rows: Ints, lag: int) -> None:
        scale = self.window / (lines.iteration[rows] - lines.iteration[rows - 1])[:, None]
        new, old = lines.window[rows], lines.window[rows - 1]
        with np.errstate(invalid="ignore", over="ignore"):
            rounding = 2 * self.half_unit + _FLOAT32_MEAN * (np.abs(new) + np.abs(old))
            value = scale * (new - old) + lines.mean[rows - lag]
            spread = scale * rounding + lines.bound[rows - lag]
            mean, bound = lines.mean[rows], lines.bound[rows]
            low = np.maximum(mean - bound, value - spread)
            high = np.minimum(mean + bound, value + spread)
            better = self._slides & (low <= high) & (high - low < 2 * bound)
            lines.apart[rows] = self._slides & (low > high)
        lines.mean[rows] = np.where(better, (low + high) / 2, mean)
        lines.bound[rows] = np.where(better, (high - low) / 2, bound)

    def _leave_out(self, lines: Lines, rows: Ints) -> None:
        """Say nothing where the doubt about the count matters: the middle would be a guess."""
        ks = lines.iteration
        length = (ks[rows] - ks[rows - 1])[:, None]
        most = (ks[rows - 1] - lines.start[rows] + 1 + lines.slack[rows])[:, None]
        rounding = self.half_unit * (2 * most + length) / length
        with np.errstate(invalid="ignore"):
            little = lines.bound[rows] <= rounding + _LITTLE * np.abs(lines.average[rows])
        little |= ~np.isfinite(lines.mean[rows])
        lines.bound[rows] = np.where(little, lines.bound[rows], np.nan)

    def _settle(self, lines: Lines, rules: Rules, again: Bools) -> None:
        """Where a line contradicts what its process is taken to be, take it to be another one."""
        row = lines.old
        while (found := self._contradiction(lines, row, rules)) is not None:
            row, unmet = found
            end = lines.end_of(row)
            if lines.doubt[row] == ASSUMED:
                self._drop_resume(lines, row, rules)
            elif lines.doubt[row] != COUNTED:
                lines.doubt[row:end] = LOST
            elif unmet and row > 0 and lines.checked[row - 1]:
                between = int(lines.iteration[row] - lines.iteration[row - 1])
                self._begin(lines, row, end, between - 1)
                again[row - lines.old] = True
            else:
                # It may have begun at any line since the process that was believed to count.
                before = int(lines.start[row] - lines.slack[row])
                self._begin(lines, row, end, int(lines.iteration[row]) - before)
                lines.doubt[row:end] = DOUBTFUL
                self._narrow(lines, row, rules)
                again[row - lines.old] = True
            self._recover(lines, row, rules, end)

    def _drop_resume(self, lines: Lines, row: int, rules: Rules) -> None:
        """Discard what was recovered: lines are missing before the first, which is no resume."""
        head = int(lines.head[row])
        process = slice(head, lines.end_of(head))
        lines.slack[process] = lines.start[process]
        lines.doubt[process] = DOUBTFUL
        lines.mean[head:row], lines.bound[head:row] = np.nan, np.nan
        self._narrow(lines, head, rules)

    @staticmethod
    def _begin(lines: Lines, row: int, end: int, slack: int) -> None:
        lines.head[row:end] = row
        lines.start[row:end], lines.slack[row:end] = lines.iteration[row], slack
        lines.checked[row:end] = False
        lines.invertible[row:end] = lines.present[row]

    def _contradiction(self, lines: Lines, begin: int, rules: Rules) -> tuple[int, bool] | None:
        """First row that cannot be, and whether it is the two printed numbers that do not meet."""
        rows = slice(begin, None)
        sound = lines.doubt[rows] != LOST
        with np.errstate(invalid="ignore"):
            unmet = np.zeros(len(sound), bool)
            if lines.apart[rows].any():
                unmet = self._unmet(lines, rows)
            short = np.flatnonzero(
                (lines.doubt[rows] <= ASSUMED)
                & (lines.start[rows] > lines.slack[rows])
                & (lines.iteration[rows] - lines.start[rows] + lines.slack[rows] < self.window)
            )
            wrong = unmet.copy()
            if len(short):
                average, window = lines.average[rows][short], lines.window[rows][short]
                apart = np.abs(window - average)
                # The first line of a resume has counted a few updates: its two numbers are one.
                fresh = (lines.head[rows][short] == begin + short) & (lines.slack[rows][short] > 0)
                shown = self._shown | (fresh[:, None] & ~self._refuted)
                among = shown & np.isfinite(apart)
                wrong[short] |= majority(apart > tolerance(average, self.half_unit), among)
            if rules.positive.any():
                top = lines.mean[rows][:, rules.positive] + lines.bound[rows][:, rules.positive]
                wrong |= ((top < 0) & np.isfinite(top)).any(axis=1)
        found = np.flatnonzero(wrong & sound)
        return (begin + int(found[0]), bool(unmet[found[0]])) if len(found) else None

    def _unmet(self, lines: Lines, rows: slice) -> Bools:
        """Rows whose two numbers do not meet; one meter alone is not updated at each iteration."""
        apart = lines.apart[rows] & lines.invertible[rows]
        among = self._slides & np.isfinite(lines.bound[rows]) & lines.invertible[rows]
        unmet = majority(apart, among)
        for meter in np.flatnonzero(apart.any(axis=0)).tolist():
            alone = rows.start + np.flatnonzero(apart[:, meter] & ~unmet)
            _, firsts = np.unique(lines.head[alone], return_index=True)
            for row in alone[firsts].tolist():
                lines.invertible[row : lines.end_of(row), meter] = False
        return unmet


def _cut_at_zero(lines: Lines, rows: Ints, positive: Bools) -> None:
    mean, bound = lines.mean[rows], lines.bound[rows]
    with np.errstate(invalid="ignore"):
        below = positive & (mean < bound) & (mean + bound >= 0)
    if below.any():
        half = (mean + bound) / 2
        lines.mean[rows] = np.where(below, half, mean)
        lines.bound[rows] = np.where(below, half, bound)


def _first_iterations(lines: Lines) -> Ints:
    """First iteration of each row; −1 for a line that may have had others before it."""
    ks = lines.iteration
    first = np.empty(len(ks), np.int64)
    first[1:] = ks[:-1] + 1
    heads = np.flatnonzero(lines.head == np.arange(len(ks)))
    heads = heads[heads >= lines.old]
    known = (lines.start[heads] == ks[heads]) & (lines.slack[heads] == 0)
    first[heads] = np.where(known, ks[heads], -1)
    return first
