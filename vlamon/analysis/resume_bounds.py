"""Since which iteration a process counts, where the log does not show its first line.

A file that begins in the middle of an epoch has lost its head, or was opened by a resumed process.
Both print the same kind of line; only the count differs, and with it what the averages hide. The
printed numbers narrow the range of starts down, line by line:

* The two numbers differ: more than a window of updates was counted.
* They stay equal to the digit while the average moves: the window has not begun to move. Were it
  moving, each batch that left would have had to equal the average by chance.
* A window apart, both averages and the window's mean give the count itself.
* A meter that is never negative bounds how many updates can be behind a falling average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlamon.analysis.averaged_lines import Bools, Floats, Ints

_CHANCE = 25.0
"""Natural logarithm of how improbable an equality must be to be none by chance: 1 in 10^11."""

SHOWN_BY = 5
"""Lines on which a moving average and the first number must agree to be the same thing."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for every line of a log."""

    half: float
    """Rounding error of a printed number."""
    window: int
    """Updates that the first number averages over."""
    positive: Bools
    """Meters that are never negative."""


def tolerance(average: Floats, half: float) -> Floats:
    """How far the mean of the same updates, taken in float32, may be from the average."""
    return 2 * half + 2.0**-19 * np.abs(average)


def majority(cells: Bools, among: Bools) -> Bools:
    """Rows on which at least half of the meters say so: one alone may be updated otherwise."""
    count = np.sum(cells & among, axis=1)
    return np.asarray((count > 0) & (2 * count >= np.sum(among, axis=1)), bool)


def narrowed(
    earliest: int,
    latest: int,
    iteration: Ints,
    average: Floats,
    window: Floats,
    shown: Bools,
    refuted: Bools,
    rules: Rules,
) -> tuple[Ints, Ints, Bools]:
    """Earliest and latest start that each line leaves possible, by it and the ones before.

    `shown` are the meters whose first number is known to be a mean over the window, `refuted` those
    where it is known to be none; what is shown in the end is returned, too.
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        allowed = tolerance(average, rules.half)
        apart = np.abs(window - average)
        differs = apart > allowed
        moved = np.zeros(average.shape)
        moved[1:] = np.abs(np.diff(average, axis=0)) - 2 * rules.half
        shows = (moved > 2 * rules.half) & (apart <= allowed)
        until = np.cumsum(differs, axis=0) == 0
        usable = (shown | (np.cumsum(shows & until, axis=0) >= SHOWN_BY)) & np.isfinite(apart)
        usable &= ~refuted
        more = majority(differs, usable)
        high = np.where(more, iteration - rules.window, latest)
        equal = np.any(usable, axis=1) & ~np.any(differs & usable, axis=1)
        low = np.maximum(
            _since_equal(iteration, moved / (2 * allowed), usable, equal, rules),
            np.maximum(_since_positive(iteration, average, rules), earliest),
        )
        least, most = _counts_a_window_apart(iteration, average, window, usable, rules)
    low = np.maximum(low, np.ceil(iteration + 1 - most).astype(np.int64))
    high = np.minimum(high, np.floor(iteration + 1 - least).astype(np.int64))
    return np.maximum.accumulate(low), np.minimum.accumulate(high), shown | usable[-1]


def _since_equal(iteration: Ints, ratio: Floats, usable: Bools, equal: Bools, rules: Rules) -> Ints:
    """Earliest start after those under which the window would be moving unseen for too long."""
    both = equal.copy()
    both[1:] &= equal[:-1]
    both[0] = False
    chance = np.where(usable & (ratio > 1), np.log(np.maximum(ratio, 1)), 0.0).sum(axis=1)
    evidence = np.cumsum(np.where(both, chance, 0.0))
    row = np.searchsorted(evidence, evidence - _CHANCE, side="right") - 1
    since = iteration[np.maximum(row, 0)] - rules.window + 1
    return np.where(row >= 0, np.maximum(since, 0), 0)


def _since_positive(iteration: Ints, average: Floats, rules: Rules) -> Ints:
    """Earliest start that leaves the mean of each interval at zero or above."""
    since = np.zeros(len(iteration), np.int64)
    if len(iteration) < 2 or not rules.positive.any():
        return since
    values = average[:, rules.positive]
    length = np.diff(iteration)[:, None]
    slope = (np.diff(values, axis=0) + 2 * rules.half) / length
    most = np.where(slope < 0, (values[1:] + rules.half) / -slope, np.inf)
    most = np.min(np.where(np.isnan(most), np.inf, most), axis=1)
    known = np.isfinite(most)
    since[1:][known] = np.ceil(iteration[:-1][known] + 1 - most[known]).astype(np.int64)
    return since


def _counts_a_window_apart(
    iteration: Ints, average: Floats, window: Floats, usable: Bools, rules: Rules
) -> tuple[Floats, Floats]:
    """Least and most updates counted, from the averages before and behind a whole window."""
    least: Floats = np.ones(len(iteration))
    most: Floats = (iteration + 1).astype(np.float64)
    lag = np.searchsorted(iteration, iteration - rules.window)
    rows = np.flatnonzero(iteration[lag] == iteration - rules.window)
    if not len(rows):
        return least, most
    before, behind = average[lag[rows]], average[rows]
    change, share = behind - before, window[rows] - before
    rounding = tolerance(behind, rules.half)
    # Of c updates the last w have the mean m: c·(a_k − a_{k−w}) = w·(m − a_{k−w}).
    top = (np.abs(share) + rounding) * rules.window
    bottom = np.abs(change) - 2 * rules.half
    known = usable[rows] & np.isfinite(before)
    sure = known & (bottom > 0)
    ratio = np.where(sure, top / np.where(sure, bottom, 1.0), np.inf)
    most[rows] = np.minimum(most[rows], np.min(ratio, axis=1))
    top = (np.abs(share) - rounding) * rules.window
    sure = known & (top > 0)
    ratio = np.where(sure, top / (np.abs(change) + 2 * rules.half), 1.0)
    least[rows] = np.maximum(1.0, np.max(ratio, axis=1))
    return least, most
