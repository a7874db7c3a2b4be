"""Judges values of a metric by those before them, for `tail` and `analyze` alike.

A mean (over an epoch, an interval, the steps between two lines) has divided a spike by its length,
so 2.5 times the median of the sixteen values before it is an explosion. A single batch goes to the
guard's detector, however far apart the lines are. Incremental: it does not matter in how many
pieces the values come.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vlamon.detect.detector import SpikeDetector, Verdict
from vlamon.detect.rules import SpikeRules
from vlamon.detect.running_median import MAD_TO_SIGMA

BEFORE = 16
"""Values that make the level; up to half of them may be a spike themselves."""
LEAST = 3
"""Values before which no mean is an explosion."""
_SLIGHT = 0.1
"""Share of what a run has gained that one or two batches may give back: a level near zero has
multiples of hundreds in samples that are merely hard."""
_BEGIN = 5
"""Values that say where a run began."""
_RECENT = 32
_LATEST = 12
"""The latest values may be of the explosion itself; the ones before them show what is usual."""
_ALIKE = 0.9
_FAMILIAR = 3
"""So many of the recent values as high: batches of two kinds."""
_PIECES = 64
"""Means that tell the course of a run since its first value."""
_NOTHING = 0.1
"""A loss that began below this share of where it stands began at next to nothing."""
_EVEN = 2.0
"""How far apart the rises from quarter to quarter of an even pace may be."""
_NOISE = 6.0
"""A loss that may be negative counts multiples in at least so many standard deviations."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Levels:
    """What values are held against, one of each a value; NaN where nothing is known."""

    level: Floats
    """The usual value."""
    reach: Floats
    """How far above it twice the level lies: the level itself, or for a loss that may be negative
    the larger of its size and its noise."""

    def times(self, ratio: float) -> Floats:
        """The values that are so many times their level."""
        plain = self.reach == self.level  # multiplied, so that exactly 2.5 times is 2.5 times
        limits: Floats = np.where(plain, ratio * self.level, self.level + (ratio - 1) * self.reach)
        return limits


@dataclass(frozen=True, slots=True)
class JudgedValues:
    """What some values in a row are."""

    high: Bools
    """Which of them exploded."""
    means: Bools
    """Which of them are means; the others are single batches."""
    before: Levels
    """The level before each mean, and before the first of single batches that exploded in a row."""
    verdicts: Mapping[int, Verdict]
    """What the detector said of these first ones, by place."""


class _Course:
    """The means of all values since the first one, in pieces of one length."""

    def __init__(self) -> None:
        self._means: list[float] = []
        self._length = 1
        self._piece: list[float] = []

    def push(self, value: float) -> None:
        """The next value."""
        self._piece.append(value)
        if len(self._piece) < self._length:
            return
        self._means.append(math.fsum(self._piece) / self._length)
        self._piece.clear()
        if len(self._means) == _PIECES:
            pairs = zip(self._means[::2], self._means[1::2], strict=True)
            self._means = [(one + two) / 2 for one, two in pairs]
            self._length *= 2

    def rises_evenly_to(self, value: float) -> bool:
        """Whether an even rise from next to nothing leads to this value.

        Such a loss has no level to leave, and multiples of where it began say nothing: a penalty
        that is phased in, the distance to a reference that the weights start at.
        """
        count = len(self._means)
        if count < _PIECES // 4 or self._means[0] > _NOTHING * value:
            return False
        cuts = [quarter * count // 4 for quarter in range(5)]
        quarters = [statistics.fmean(self._means[a:b]) for a, b in pairwise(cuts)]
        rises = [later - earlier for earlier, later in pairwise(quarters)]
        even = 0 < max(rises) <= _EVEN * min(rises)
        # The rise has come half a quarter further by now; the rest is noise.
        return even and value <= quarters[-1] + 2 * max(rises)


class Judge:
    """Judges one metric of one attempt."""

    def __init__(self, rules: SpikeRules | None = None) -> None:
        self._detector = SpikeDetector(rules)
        self._before: Floats = np.empty(0)
        self._step: int | None = None
        """Step of the last value."""
        self._exploding = False
        """Whether the last single batch exploded."""
        self._begin: list[float] = []
        self._recent: deque[float] = deque(maxlen=_RECENT + _LATEST)
        self._course = _Course()

    def observe(self, values: Floats, steps: Ints | None, averaged: Bools) -> JudgedValues:
        """The next values: `averaged` says which are means over the steps since the one before.

        Without steps, such as epoch lines, all of them are.
        """
        means = averaged if steps is None else averaged & self._covering(steps)
        held = len(self._before)
        known = np.concatenate([self._before, values])
        self._before = known[-BEFORE:]
        if means.any():
            windows, counts = _windows_before(known)
            found = levels(windows[held:])
            with np.errstate(invalid="ignore"):
                enough = counts[held:] >= LEAST
                high = enough & (values >= found.times(self._detector.rules.mean_ratio)) & means
        else:
            found = Levels(np.full(len(values), np.nan), np.full(len(values), np.nan))
            high = np.zeros(len(values), bool)
        verdicts = {}
        singles = np.flatnonzero(~means)
        for row, value in zip(singles.tolist(), values[singles].tolist(), strict=True):
            if len(self._begin) < _BEGIN and math.isfinite(value):
                self._begin.append(value)
            verdict = self._detector.observe(value)
            exploding = verdict.level == "explode" and not self._excused(value, verdict)
            self._recent.append(value)
            if math.isfinite(value):
                self._course.push(value)
            if exploding and not self._exploding:
                verdicts[row] = verdict
                found.level[row], found.reach[row] = self._detector.reference()
            if exploding:
                high[row] = True
            self._exploding = exploding
        high |= ~np.isfinite(values)
        return JudgedValues(high, means, found, verdicts)

    def _excused(self, value: float, verdict: Verdict) -> bool:
        """Whether a value is as high as others were that are no explosion, one or two batches
        give back little of what the run has gained, or the loss never had a level."""
        if not math.isfinite(value):
            return False
        if self._course.rises_evenly_to(value):
            return True
        if verdict.age >= _LATEST:
            return False
        before = list(self._recent)[:-_LATEST]
        alike = sum(known >= _ALIKE * value for known in before)
        if alike >= _FAMILIAR and not self._exploding:
            return True
        if verdict.age > 1:
            return False
        level, _ = self._detector.reference()
        gained = statistics.median(self._begin) - level
        return value - level < _SLIGHT * gained

    def _covering(self, steps: Ints) -> Bools:
        """Which values stand for more than one step."""
        if not len(steps):
            return np.zeros(0, bool)
        before = steps[0] if self._step is None else self._step
        self._step = int(steps[-1])
        covered: Bools = np.diff(steps, prepend=before) > 1
        return covered


def levels(windows: Floats) -> Levels:
    """Levels from windows of the values around each value, in which NaN means nothing.

    Sorts the windows in place. No level where a window is empty, or where it is 0.
    """
    windows.sort(axis=1)  # NaN goes last
    middle = medians(windows)
    reach = np.where(middle > 0, middle, np.nan)
    below = windows[:, 0] < 0
    if below.any():
        off = np.sort(np.abs(windows[below] - middle[below, None]), axis=1)
        noise = _NOISE * MAD_TO_SIGMA * medians(off)
        size = np.maximum(np.abs(middle[below]), noise)
        reach[below] = np.where(size > 0, size, np.nan)
    return Levels(middle, reach)


def medians(ordered: Floats) -> Floats:
    """Medians of sorted rows whose NaN stand last; NaN for a row of nothing."""
    counts = np.sum(~np.isnan(ordered), axis=1)
    index = np.arange(len(ordered))
    low = ordered[index, np.maximum((counts - 1) // 2, 0)]
    high = ordered[index, np.maximum(counts // 2, 0).clip(max=ordered.shape[1] - 1)]
    found: Floats = np.where(counts > 0, (low + high) / 2, np.nan)
    return found


def _windows_before(values: Floats) -> tuple[Floats, Ints]:
    """Up to BEFORE finite values before each one, and how many they are."""
    padded = np.full(len(values) + BEFORE, np.nan)
    padded[BEFORE:] = np.where(np.isfinite(values), values, np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, BEFORE)[: len(values)].copy()
    counts: Ints = np.sum(~np.isnan(windows), axis=1)
    return windows, counts
