"""Lines of running averages as one table, and what is remembered of them between two blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

COUNTED, ASSUMED, DOUBTFUL, LOST = 0, 1, 2, 3
"""What is known of a process's count: all but a stride; the same, if no lines are missing before
its first one; only a range; or nothing, since the numbers contradict each other."""


@dataclass(slots=True)
class Context:
    """The last lines of the running epoch, which later lines are differenced against."""

    epoch: Ints
    iteration: Ints
    average: Floats
    window: Floats
    present: Bools
    mean: Floats
    bound: Floats
    checked: Bools
    start: int
    """First iteration counted, the latest that is possible."""
    slack: int
    """How much earlier the count may have begun."""
    doubt: int
    """COUNTED, ASSUMED, DOUBTFUL or LOST."""
    invertible: Bools
    """Meters that were there from the epoch's first line on."""

    @classmethod
    def empty(cls, meters: int) -> Context:
        """Nothing was read yet."""
        nothing, table = np.empty(0, np.int64), np.empty((0, meters))
        flags = np.empty((0, meters), bool)
        none, row = np.zeros(meters, bool), np.empty(0, bool)
        return cls(nothing, nothing, table, table, flags, table, table, row, 0, 0, COUNTED, none)

    def widened(self, meters: int) -> Context:
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
class Lines:
    """Context and block as one table, and where the epochs (or processes) in it begin."""

    epoch: Ints
    iteration: Ints
    average: Floats
    window: Floats
    present: Bools
    mean: Floats
    """Recovered means, filled in as they are found; NaN until then."""
    bound: Floats
    """Largest possible error of each."""
    checked: Bools
    """Rows whose two printed numbers could be held against each other."""
    apart: Bools
    """Cells where the two contradict each other."""
    invertible: Bools
    """Cells of meters that every iteration of the process has updated."""
    head: Ints
    """Row of the first line of each row's process."""
    start: Ints
    """First iteration that each row's average counts, the latest that is possible."""
    slack: Ints
    """How much earlier that count may have begun."""
    doubt: Ints
    """COUNTED, ASSUMED, DOUBTFUL or LOST, a row."""
    old: int
    """Rows of the context."""

    def end_of(self, row: int) -> int:
        """Row behind the last one of this row's process."""
        return row + int(np.searchsorted(self.head[row:], self.head[row], side="right"))

    def kept(self, reach: int) -> Context:
        """What the next block needs: the running process's last lines."""
        keep = slice(max(int(self.head[-1]), len(self.epoch) - reach), None)
        return Context(
            epoch=self.epoch[keep].copy(),
            iteration=self.iteration[keep].copy(),
            average=self.average[keep].copy(),
            window=self.window[keep].copy(),
            present=self.present[keep].copy(),
            mean=self.mean[keep].copy(),
            bound=self.bound[keep].copy(),
            checked=self.checked[keep].copy(),
            start=int(self.start[-1]),
            slack=int(self.slack[-1]),
            doubt=int(self.doubt[-1]),
            invertible=self.invertible[-1].copy(),
        )


def joined(
    context: Context,
    epoch: Ints,
    iteration: Ints,
    average: Floats,
    window: Floats,
    present: Bools,
    resumed: Ints,
    stride: int,
    head_missing: bool = False,
) -> tuple[Lines, int]:
    """Context and block as one table, and the rhythm in which the log prints.

    Where the iteration falls back, a process was resumed and its first line is one of its first
    `stride` iterations; `resumed` says so of other lines, with the earliest possible one. Where an
    epoch begins in the middle, a resume is assumed; with `head_missing` any start since the epoch's
    begin is possible.
    """
    old = len(context.iteration)
    epochs = np.concatenate([context.epoch, epoch])
    ks = np.concatenate([context.iteration, iteration])
    advanced, begins = _begins(epochs, ks, resumed, old)
    heads = np.flatnonzero(begins)
    head = np.repeat(heads, np.diff(np.append(heads, len(ks))))
    inside = np.diff(ks)[~begins[1:]]
    if len(inside):
        # The usual distance: some loggers print an epoch's last iteration, too.
        stride = int(np.partition(inside, len(inside) // 2)[len(inside) // 2])
    start, slack, doubt = _starts(context, ks, head, advanced, resumed, stride)
    if head_missing and not old:
        first = head == 0
        slack[first] = start[first]
        doubt[first] = np.where(slack[first] > stride, DOUBTFUL, COUNTED)
    unknown = np.full(average.shape, np.nan)
    there = np.concatenate([context.present, present])
    invertible = there[head]
    if old:
        invertible[head == 0] = context.invertible
    lines = Lines(
        epoch=epochs,
        iteration=ks,
        average=np.concatenate([context.average, average]),
        window=np.concatenate([context.window, window]),
        present=there,
        mean=np.concatenate([context.mean, unknown]),
        bound=np.concatenate([context.bound, unknown]),
        checked=np.concatenate([context.checked, np.zeros(len(epoch), bool)]),
        apart=np.zeros(there.shape, bool),
        invertible=invertible,
        head=head,
        start=start,
        slack=slack,
        doubt=doubt,
        old=old,
    )
    return lines, stride


def _begins(epochs: Ints, ks: Ints, resumed: Ints, old: int) -> tuple[Bools, Bools]:
    """Which lines begin a later epoch, and which a count of their own; those of the context, of
    which there are `old`, have had theirs."""
    advanced = np.ones(len(ks), bool)
    advanced[1:] = epochs[1:] > epochs[:-1]
    begins = advanced.copy()
    begins[1:] |= (epochs[1:] != epochs[:-1]) | (ks[1:] <= ks[:-1])
    begins[old:] |= resumed >= 0
    begins[: max(old, 1)] = False
    begins[0] = True
    return advanced, begins


def _starts(
    context: Context, ks: Ints, head: Ints, advanced: Bools, resumed: Ints, stride: int
) -> tuple[Ints, Ints, Ints]:
    """Since when each row's process counts at the latest, how much earlier, and how sure it is."""
    old = len(context.iteration)
    start = ks[head]
    slack = np.minimum(stride - 1, start)
    doubt = np.where(advanced[head] & (start > stride), ASSUMED, COUNTED)
    for row in (old + np.flatnonzero(resumed >= 0)).tolist():
        slack[head == row] = ks[row] - resumed[row - old]
    doubt = np.where(slack > stride, DOUBTFUL, doubt)
    if old:
        first = head == 0
        start[first], slack[first], doubt[first] = context.start, context.slack, context.doubt
    return start, slack, doubt
